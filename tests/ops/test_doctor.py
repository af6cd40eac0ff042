"""`haclient doctor`: its judgement of figures, its two forms of output, its exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable

import pytest

from haclient.core.keepalive import Bounds, WatchPhase
from haclient.ops import doctor
from haclient.ops.command_line import CommandError
from haclient.ops.doctor import Diagnosis, build_parser, diagnose, judge, lines, run
from haclient.ops.doctor_bound import Measured
from haclient.ops.doctor_checks import Check, Grade
from haclient.ops.style import Style

BOUNDS = Bounds(1.1, 2.5)
SILENT = Measured(WatchPhase.SILENT, BOUNDS, 1.1, 2.51, 3)
LIVING = Measured(None, None, probes=2)

MEASURED = {
    "in time": (
        SILENT,
        Grade.OK,
        "suspect after 1.10 s (bound 1.10), dead after 2.51 s (bound 2.50)",
    ),
    "late": (
        Measured(WatchPhase.IN_FLIGHT, Bounds(0.55, 1.2), 0.5, 1.6),
        Grade.WARN,
        "suspect after 0.50 s (bound 0.55), dead after 1.60 s (bound 1.20)",
    ),
    "no suspicion": (Measured(WatchPhase.SILENT, BOUNDS, None, 2.5), Grade.FAIL, "not noticed"),
    "no death": (Measured(WatchPhase.SILENT, BOUNDS, 1.1, None), Grade.FAIL, "not noticed"),
    "a living peer left alone": (LIVING, Grade.OK, "no verdict; 2 probes sent and answered"),
    "a living peer suspected": (
        Measured(None, None, suspect=1.1),
        Grade.WARN,
        "suspect after 1.10 s",
    ),
    "a living peer declared dead": (
        Measured(None, None, suspect=1.1, dead=2.5),
        Grade.FAIL,
        "held dead after 2.50 s",
    ),
}


@pytest.mark.parametrize(("measured", "grade", "found"), MEASURED.values(), ids=MEASURED)
def test_judgement(measured: Measured, grade: Grade, found: str) -> None:
    check = judge(measured)
    assert (check.grade, check.found) == (grade, found)
    assert bool(check.advice) is (grade is not Grade.OK)


def measuring(*results: Measured) -> Callable[..., Awaitable[tuple[Measured, ...]]]:
    async def measure(*, caps_window_probes: bool) -> tuple[Measured, ...]:
        return results

    return measure


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "measure", measuring(SILENT, LIVING))


def test_the_real_thing_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["--json"])
    found = json.loads(capsys.readouterr().out)
    failed = [check for check in found["checks"] if check["grade"] == "fail"]
    assert failed == []
    assert (code, found["in_order"]) == (0, True)
    assert [one["phase"] for one in found["detection"]] == [
        "silent",
        "in_flight",
        "window_shut",
        "alive",
    ]
    assert found["detection"][0]["dead_bound"] == 2.5
    assert found["detection"][0]["dead"] >= 2.4


@pytest.mark.usefixtures("_quick")
def test_lines_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    out = capsys.readouterr().out
    assert "✔ kernel             " in out
    assert "✔ dead, thinking     suspect after 1.10 s (bound 1.10), dead after 2.51 s" in out
    assert "✔ alive and silent   no verdict" in out
    assert "host" not in out.replace("hosts file", "").replace("/etc/hosts", "")


@pytest.mark.usefixtures("_quick")
def test_a_failed_check_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Check("kernel", Grade.FAIL, "none", "get one")
    monkeypatch.setattr(doctor, "checks", lambda: iter([bad]))
    assert run([]) == 1
    assert "✘ kernel             none\n                     → get one\n" in capsys.readouterr().out


@pytest.mark.usefixtures("_quick")
async def test_a_host_is_looked_up_if_asked_for() -> None:
    found = await diagnose("localhost")
    (check,) = (one for one in found.checks if one.name == "host localhost")
    assert check.grade is Grade.OK
    assert check.found.startswith("127.0.0.1")


@pytest.mark.usefixtures("_quick")
async def test_a_host_that_is_none_fails() -> None:
    found = await diagnose("not..a.name")
    (check,) = (one for one in found.checks if one.name == "host not..a.name")
    assert check.grade is Grade.FAIL
    assert not found.is_in_order


async def test_without_a_socket_filter_the_bound_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def measure(*, caps_window_probes: bool) -> tuple[Measured, ...]:
        raise ExceptionGroup("nursery", [PermissionError("no filter")])

    monkeypatch.setattr(doctor, "measure", measure)
    found = await diagnose(None)
    assert found.measured == ()
    assert found.checks[-1].found == "cannot be measured here"


async def test_without_tcp_info_it_is_not_even_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "measure", measuring(SILENT))
    monkeypatch.setattr(doctor, "tcp_info_works", lambda: False)
    found = await diagnose(None)
    assert found.measured == ()


LONG = Check("libraries", Grade.WARN, "one two three four five six seven eight", "do this and that")


def test_lines_are_wrapped_to_the_terminal() -> None:
    assert lines([LONG], Style(is_unicode=False), 45) == [
        "! libraries          one two three four five",
        "                     six seven eight",
        "                     > do this and that",
    ]


@pytest.mark.parametrize("width", [None, 30], ids=["a pipe", "a terminal too narrow"])
def test_lines_are_left_as_long_as_they_are(width: int | None) -> None:
    first, advice = lines([LONG], Style(is_unicode=False), width)
    assert first == "! libraries          one two three four five six seven eight"
    assert advice.strip() == "> do this and that"


def test_json_has_no_infinity() -> None:
    unbounded = Measured(WatchPhase.WINDOW_SHUT, Bounds(float("inf"), float("inf")), 1.0, 2.0)
    (told,) = Diagnosis((), (unbounded,)).as_json()["detection"]
    assert (told["suspect_bound"], told["dead_bound"], told["dead"]) == (None, None, 2.0)


def test_wrong_use() -> None:
    with pytest.raises(CommandError):
        run(["--hots", "x"])


def test_every_option_has_a_line_of_help() -> None:
    assert all(action.help for action in build_parser()._actions)


@pytest.mark.usefixtures("_quick")
def test_a_terminal_gets_its_own_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))
    monkeypatch.setenv("NO_COLOR", "1")
    run([])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60
