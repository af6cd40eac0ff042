"""`haclient demo`, for real: processes, a blackhole, a slow server. The longest test of the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haclient.ops import demo
from haclient.ops.command_line import CommandError
from haclient.ops.demo import build_parser, first_of, run
from haclient.ops.demo_figures import Figures, Promise

DEMO = [sys.executable, "-m", "haclient.ops.main", "demo"]


def children_of(process: int) -> set[str]:
    """The processes that any thread of it has started and not reaped."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return {child for each in lists for child in each.read_text().split()}


def test_the_quick_show_keeps_its_promises(capsys: pytest.CaptureFixture[str]) -> None:
    before = children_of(os.getpid())
    code = run(["--quick", "--json"])
    out, story = capsys.readouterr()
    assert code == 0, story
    figures = json.loads(out)
    assert figures["held"] is True
    killed, blackholed, slow = figures["faults"]
    assert killed["time_to_answer"] < 1.0
    assert 0.9 < blackholed["time_to_answer"] < 2.5
    assert 2.6 <= slow["time_to_answer"] < 4.0
    for fault in figures["faults"]:
        assert (fault["lost"], fault["run_twice"], fault["abandoned"]) == (0, 0, 0)
        assert fault["requests"] > 1
    assert len({row["fault"].split()[0] for row in figures["faults"]}) == 3
    assert children_of(os.getpid()) == before


IN_ORDER = [
    (
        "orders.demo: three servers under one name, and a sidecar",
        "servers: 127.0.0.2, 127.0.0.3, 127.0.0.4, port ",
        "sidecar: http://127.0.0.1:",
        "client: tries each request once",
        "orders.demo is 127.0.0.2, 127.0.0.3, 127.0.0.4",
        "race of 3",
        "GET forwarded to",
        "kill -9",
        "GET forwarded to",
        "POST forwarded to",
        " killed\n",
        "its kernel closed the connection",
        "second try to",
        "GET answered by",
        " blackholed; it had acknowledged the request",
        "silent for 1.",
        "is suspect: ",
        "second try to",
        "GET answered by",
        "thinks for 2.6 s",
        "silent for 1.",
        "answered: alive.",
        "GET answered by",
        "time to the answer",
        "every request of the load was answered",
    ),
    (" killed\n", "POST: a clear error after ", ": 502, it may have run", " blackholed;"),
    ("thinks for 2.6 s", "runs again", "can be reached again", "time to the answer"),
]


def test_the_story_is_told_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--quick"]) == 0
    story = capsys.readouterr().out
    for said in IN_ORDER:
        position = 0
        for words in said:
            position = story.find(words, position)
            assert position >= 0, f"{words!r} is missing, or comes too early:\n{story}"
    assert "\x1b" not in story


def test_a_promise_that_broke_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def show(*_: object) -> Figures:
        return Figures((), (Promise(False, "one was lost"),))

    monkeypatch.setattr(demo, "show", show)
    assert run([]) == 1
    assert "✘ one was lost" in capsys.readouterr().out


def test_a_machine_that_cannot_show_it_is_told_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "ADDRESSES", ("192.0.2.1", "192.0.2.2", "192.0.2.3"))
    assert run([]) == 1
    assert capsys.readouterr().err.startswith("haclient: the demo cannot be shown: no port is free")


def test_an_error_of_its_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    async def show(*_: object) -> Figures:
        raise ExceptionGroup("nursery", [ExceptionGroup("nursery", [BrokenPipeError()])])

    monkeypatch.setattr(demo, "show", show)
    with pytest.raises(BrokenPipeError):
        run([])


def test_an_error_comes_out_of_its_groups() -> None:
    error = ValueError("x")
    assert first_of(ExceptionGroup("a", [ExceptionGroup("b", [error])])) is error
    assert first_of(error) is error


@pytest.mark.parametrize("words", [["--fast"], ["--qui"], ["http://h.test/"]])
def test_wrong_use(words: list[str]) -> None:
    with pytest.raises(CommandError):
        run(words)


def test_every_option_has_a_line_of_help() -> None:
    assert all(action.help for action in build_parser()._actions)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_process_is_left_however_it_ends(number: signal.Signals) -> None:
    with subprocess.Popen(
        [*DEMO, "--quick"], stdout=subprocess.PIPE, stderr=None, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "race of 3" in line:
                break
        servers = children_of(process.pid)
        assert len(servers) == 3
        process.send_signal(number)
        process.stdout.read()
        code = process.wait(10)
    assert code == (130 if number is signal.SIGINT else -number)
    gone_by = time.perf_counter() + 5
    while any(is_demo_origin(server) for server in servers):
        assert time.perf_counter() < gone_by, "a server is left"
        os.sched_yield()


def is_demo_origin(process: str) -> bool:
    """Whether the process is there still, and still the one that was meant."""
    try:
        return b"demo_origin" in Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
