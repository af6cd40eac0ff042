"""The documents against the code: what exists is written down, what is written down runs.

A manual is right until somebody changes the code. So options, names, exit codes and keys are taken
from the code and looked for in the page that is about them, links are followed, and the examples of
docs/library.md are run against a server on loopback and must print what stands below them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import haclient
from haclient import errors, events
from haclient.core.keepalive import Plan, WatchPhase, detection_bounds
from haclient.ops import (
    check,
    demo,
    doctor,
    explain,
    options,
    orders,
    passwd,
    serve,
    status,
    write_out,
)
from haclient.ops.config_keys import TARGET
from haclient.ops.exit_codes import ExitCode
from haclient.ops.main import COMMANDS
from haclient.ops.settings import DAEMON_ONLY
from haclient.types import Verdict

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

PARSERS = {
    "request": options.build_parser,
    "explain": explain.build_parser,
    "serve": serve.build_parser,
    "status": status.build_parser,
    "ready": orders.build_ready_parser,
    "drain": orders.build_drain_parser,
    "reload": orders.build_reload_parser,
    "check": check.build_parser,
    "passwd": passwd.build_parser,
    "doctor": doctor.build_parser,
    "demo": demo.build_parser,
}


def page(name: str) -> str:
    """A page of docs/."""
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def code(text: str) -> str:
    """What of a page stands in `code`; an option in a sentence would be found by accident."""
    return "\n".join(re.findall(r"`([^`\n]+)`", text))


# --- what exists is written down ------------------------------------------------------------------


def section(text: str, heading: str) -> str:
    """A page's part under `## heading`."""
    part = text.partition(f"\n## {heading}\n")[2]
    assert part, f"there is no heading {heading!r}"
    return part.partition("\n## ")[0]


def longs(parser: argparse.ArgumentParser) -> list[str]:
    """Every long option."""
    return [
        name for each in parser._actions for name in each.option_strings if name.startswith("--")
    ]


@pytest.mark.parametrize("command", PARSERS)
def test_every_long_option_is_in_the_commands_section(command: str) -> None:
    written = code(section(page("cli"), f"haclient {command}"))

    missing = [
        name
        for name in longs(PARSERS[command]())
        if not re.search(rf"{re.escape(name)}(?![a-z-])", written)
    ]
    assert not missing


@pytest.mark.parametrize("command", PARSERS)
def test_every_option_that_is_written_down_exists(command: str) -> None:
    text = section(page("cli"), f"haclient {command}").partition("\n### Where it differs")[0]
    rows = re.findall(r"^\| (`-.*?) \| ", text, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"--[a-z][a-z0-9-]*", row)}

    assert named
    assert named <= set(longs(PARSERS[command]()))


def test_every_command_has_its_line_and_its_section() -> None:
    text = page("cli")

    assert all(f"\nhaclient {name} " in text for name in COMMANDS)
    assert all(f"\n## haclient {name}\n" in text for name in COMMANDS)


def test_every_exit_code_is_written_down() -> None:
    table = section(page("cli"), "Exit codes")
    written = {
        int(n)
        for row in re.findall(r"^\| ([0-9, ]+) \|", table, re.MULTILINE)
        for n in row.split(",")
    }

    # 8 is curl's for a bad field in a response; haclient has 1 for all of a head.
    assert written == {int(each) for each in ExitCode} - {ExitCode.WEIRD_REPLY}


def test_every_write_out_name_is_written_down() -> None:
    written = section(page("cli"), "haclient request").partition("\n### Write-out names\n")[2]
    names = {"json", "header_json", "attempts", "stdout", "stderr", "onerror"}
    transfer = write_out.Transfer(url="", url_effective="", method="GET")

    missing = [
        name for name in names | set(write_out._variables(transfer)) if f"`{name}`" not in written
    ]
    assert not missing


def test_every_event_of_the_json_trace_is_written_down() -> None:
    written = page("cli").partition("\n### The trace as JSON\n")[2]
    names = [each.__name__ for each in events.Event.__args__]
    snakes = [re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in names]

    assert not [name for name in snakes if f"`{name}`" not in written]


def test_every_name_of_the_library_is_written_down() -> None:
    written = code(page("library"))
    names = [*haclient.__all__, *errors.__all__]

    missing = [name for name in names if not re.search(rf"\b{name}\b", written)]
    assert not missing


def test_every_event_is_written_down() -> None:
    written = section(page("library"), "Events")

    assert not [each for each in events.Event.__args__ if f"`{each.__name__}`" not in written]


def test_every_key_of_a_target_is_written_down() -> None:
    text = page("configuration")
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\w+)` \|$", text, re.MULTILINE)

    assert dict(rows) == {n: key.attribute or n for n, key in TARGET.items() if not key.is_later}
    ignored = text.partition("and are not looked at: ")[2].partition(". ")[0]
    assert set(re.findall(r"`(\w+)`", ignored)) == DAEMON_ONLY


def test_every_setting_of_a_target_is_in_the_library() -> None:
    written = section(page("library"), "Target")

    assert not [name for name in haclient.Target.__struct_fields__ if f"`{name}`" not in written]


def test_every_module_of_the_core_is_in_the_design() -> None:
    design = (DOCS / "design.md").read_text()
    modules = [path.stem for path in (ROOT / "haclient" / "core").glob("[a-z]*.py")]
    named = [name for name in modules if f"`{name}`" in design or f"core/{name}.py" in design]
    assert sorted(set(modules) - set(named)) == []


def test_every_verdict_is_in_the_glossary() -> None:
    written = section(page("glossary"), "Verdicts")

    assert not [each for each in Verdict if f"| `{each.name}` |" not in written]


# --- what is written down holds -------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as they are made for Markdown."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    text = re.sub(
        r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    wrong: list[str] = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        is_there = target.exists()
        if not is_there or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            wrong.append(link)
    assert not wrong


def test_the_arithmetic_of_detection_is_that_of_the_code() -> None:
    table = section(page("failure"), "The arithmetic").partition("| round trip ")[2]
    rows = re.findall(r"^\| (\d+)(?: ms)?, (\d+)(?: ms)?\b.*? \| (.*) \|$", table, re.MULTILINE)

    assert len(rows) == 5
    for srtt, rttvar, cells in rows:
        plan = Plan(4.0, 1.0, detection_bounds(int(srtt) / 1000, int(rttvar) / 1000))
        phases = (WatchPhase.IN_FLIGHT, WatchPhase.SILENT, WatchPhase.WINDOW_SHUT)
        expected = [f"{plan.bounds[p].suspect:.2f} / {plan.bounds[p].dead:.2f}" for p in phases]
        *bounds, worst = cells.split(" | ")
        assert bounds == expected
        assert worst.partition(":")[0] == f"{plan.worst_case:.1f}"


@pytest.mark.parametrize("name", ["run", "test"])
def test_the_readme_has_its_two_commands(name: str) -> None:
    """As .ci/run cuts them out."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    at = [number for number, line in enumerate(lines) if f"<!-- {name} -->" in line]

    assert len(at) == 1
    marker, fence, command, end = lines[at[0] : at[0] + 4]
    assert (marker, fence, end) == (f"<!-- {name} -->", "```sh", "```")
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_nothing_in_the_tree_is_of_one_machine() -> None:
    """Neither a path of a home or work directory nor the host of a package registry."""
    # Put together here, so that this file does not hold them itself.
    words = [
        *(f"/{name}/" for name in ("home", "root", "work", "Users")),
        *(f"{name}.org" for name in ("pypi", "pythonhosted")),
        "shared" + "/",
    ]
    found: list[str] = []
    for path in tree():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in words if word in text]
    assert not found


def tree() -> Iterator[Path]:
    """What is in the repository: not what a build, a test run or an editor left behind."""
    yield from (
        path
        for path in ROOT.iterdir()
        if path.is_file() and path.suffix in {".md", ".toml", ".lock"}
    )
    for name in ("haclient", "tests", "docs", "systemd", ".ci"):
        for path in (ROOT / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_place_to_load_from(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    assert "--hash=sha256:" in text
    assert "://" not in text


# --- the examples -------------------------------------------------------------------------------

PYTHON = re.compile(
    r"^(?P<marker><!-- run -->\n)?```python\n(?P<code>.*?)^```$"
    r"(?:\n\n```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


def blocks() -> list[re.Match[str]]:
    """The Python of docs/library.md."""
    return list(PYTHON.finditer(page("library")))


def line_of(block: re.Match[str]) -> str:
    """Where a block begins, as a test's name."""
    return f"line {block.string.count(chr(10), 0, block.start()) + 1}"


@pytest.mark.parametrize(
    "path",
    [path for path in PAGES if "```python" in path.read_text(encoding="utf-8")],
    ids=lambda path: path.name,
)
def test_python_compiles(path: Path) -> None:
    for block in PYTHON.finditer(path.read_text(encoding="utf-8")):
        compile(block["code"], f"{path.name}, {line_of(block)}", "exec")


class Orders(BaseHTTPRequestHandler):
    """The service of the examples."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """One order, or a list of them that is long."""
        if self.path == "/v1/orders":
            self.answer(200, bytes(200_000))
        else:
            self.answer(200, json.dumps({"id": 7, "state": "paid"}).encode())

    def do_POST(self) -> None:
        """A new order."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201, b'{"id": 8}')

    def do_PUT(self) -> None:
        """A file, chunked (RFC 9112, section 7.1)."""
        received = 0
        while size := int(self.rfile.readline(), 16):
            received += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        self.answer(200, f"received {received} bytes".encode())

    def answer(self, status: int, content: bytes) -> None:
        """Head and content."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the inherited name)
        """Nothing."""


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A server's host and port, for as long as the block lasts."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Orders) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_there_are_examples_to_run() -> None:
    marked = [block for block in blocks() if block["marker"]]

    assert len(marked) >= 5
    assert all(block["printed"] for block in marked)


@pytest.mark.parametrize("block", [each for each in blocks() if each["marker"]], ids=line_of)
def test_an_example_prints_what_stands_below_it(block: re.Match[str]) -> None:
    with socket.socket() as sock:
        if sock.connect_ex(("127.0.0.1", 9)) == 0:
            pytest.skip("something listens on the discard port, where the examples expect nobody")
    printed = io.StringIO()
    with serving() as origin, serving() as backup, contextlib.redirect_stdout(printed):
        script = block["code"].replace("orders.internal:8080", origin)
        script = script.replace("orders-dr.internal:8080", backup)
        exec(compile(script, f"library.md, {line_of(block)}", "exec"), {"__name__": "__main__"})

    assert printed.getvalue() == block["printed"]
