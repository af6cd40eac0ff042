"""What the installed command imports, for that is what its start costs.

Time itself swings with whatever else a machine does; which modules are loaded does not. The figures
are in tests/bench/startup.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.admin_server import admin_server, reply
from tests.support.command import COMMAND, environment, needs_command
from tests.support.reports import REPORT
from tests.support.stage import Stage

pytestmark = needs_command

ENGINE = {"trio", "h11", "ssl", "dns", "msgspec", "haclient.client", "haclient.engine"}
FOR_OTHERS = {"rich", "asyncio", "http.client", "urllib.request", "truststore", "unittest"}
"""What neither the engine nor the command has any use for, but on a terminal or with an odd CA."""

ON_DEMAND = {
    "haclient.ops.cookies": "-b '' URL/",
    "haclient.ops.redirects": "-L URL/redirect/302",
    "haclient.ops.write_out": "-w %{http_code} URL/",
    "haclient.ops.summary": "-w %{http_code} URL/",
    "haclient.ops.verbose": "-v URL/",
    "haclient.ops.trace": "--trace URL/",
    "haclient.ops.trace_json": "--trace-json /dev/null URL/",
    "haclient.ops.settings": "--config CONFIG --target t /",
    "haclient.ops.rerouting": "--connect-to ::HOST http://h.test/",
    "haclient.net.static_resolver": "--resolve h.test:PORT:127.0.0.1 http://h.test:PORT/",
}
"""Imported where an option asks for it."""


def imported(words: list[str], *, cwd: Path | None = None) -> set[str]:
    """The modules that are loaded when the command has run."""
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND, *words],
        cwd=cwd,
        capture_output=True,
        check=True,
        timeout=30,
        env=environment(),
    )
    return set(re.findall(r"(?m)^import time: .*\| +(\S+)$", ran.stderr.decode()))


def within(modules: set[str], packages: set[str]) -> set[str]:
    """Those that are one of `packages`, or in one."""
    return {one for one in modules if any(one == p or one.startswith(p + ".") for p in packages)}


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_a_page_of_text_imports_nothing_of_the_engine(word: str) -> None:
    modules = imported([word])

    assert "haclient.ops.main" in modules
    assert within(modules, ENGINE | FOR_OTHERS | {"argparse", "typing", "re", "dataclasses"}) <= {
        "re",  # argparse's and typing's, if a .pth file of the environment has loaded it already
        "typing",
    }


def test_the_options_import_nothing_of_the_engine() -> None:
    modules = imported(["request", "--help"])

    assert "argparse" in modules
    assert not within(modules, ENGINE | FOR_OTHERS)


def test_checking_a_file_imports_nothing_that_acts(tmp_path: Path) -> None:
    (tmp_path / "haclient.toml").write_text(
        '[target.t]\nurls = ["http://a.test"]\n[listener.l]\nbind = "unix:/l"\ntarget = "t"\n'
    )
    modules = imported(["check", "-c", os.fspath(tmp_path / "haclient.toml")])

    assert "haclient.ops.config_file" in modules
    acting = ENGINE - {"msgspec"} | {"haclient.net", "socket", "json", "difflib", "shutil"}
    assert not within(modules, acting | FOR_OTHERS)


@pytest.mark.parametrize(
    ("command", "path"),
    [("status", "/status"), ("ready", "/readyz"), ("drain", "/drain"), ("reload", "/reload")],
)
def test_asking_the_daemon_imports_nothing_of_the_engine(
    command: str, path: str, tmp_path: Path
) -> None:
    (tmp_path / "haclient.toml").write_text(f'[admin]\nbind = "unix:{tmp_path}/admin.sock"\n')
    with admin_server(f"unix:{tmp_path}/admin.sock") as server:
        server.answers[path] = reply(200, msgspec.json.encode(REPORT))
        modules = imported([command, "-c", os.fspath(tmp_path / "haclient.toml")])

    assert {"socket", "tomllib"} <= modules
    assert not within(modules, ENGINE | FOR_OTHERS | {"dataclasses", "inspect", "shutil"})


def test_a_request_to_an_address_imports_what_it_needs(stage: Stage) -> None:
    modules = imported(["request", f"{stage.places['URL']}/"])

    assert {"trio", "h11", "haclient.engine.exchange"} <= modules
    unused = {"dns", "getpass", "difflib", "tomllib", "http", "email"}
    assert not within(modules, FOR_OTHERS | unused | set(ON_DEMAND))


def test_a_name_of_the_hosts_file_needs_no_dns(stage: Stage) -> None:
    modules = imported(["request", f"http://localhost:{stage.places['PORT']}/"])

    assert not within(modules, {"dns"} | FOR_OTHERS)


@pytest.mark.parametrize(("module", "row"), ON_DEMAND.items())
def test_an_option_brings_its_module(module: str, row: str, stage: Stage, tmp_path: Path) -> None:
    """Else the test above would pass for a module that has another name by now."""
    url = stage.places["URL"]
    (tmp_path / "config").write_text(f'[target.t]\nurls = ["{url}"]\n')
    words = stage.words_of(row.replace("CONFIG", os.fspath(tmp_path / "config")))

    assert module in imported(["request", *words], cwd=tmp_path)
