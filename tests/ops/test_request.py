"""The command's entry: options first."""

from __future__ import annotations

import pytest

from haclient.ops.command_line import CommandError
from haclient.ops.request import run
from tests.support.recorder import recording


def test_a_request_is_carried_out(capfd: pytest.CaptureFixture[str]) -> None:
    with recording() as recorder:
        assert run(["-s", recorder.url]) == 0

    assert capfd.readouterr() == ("ok", "")


def test_a_wrong_option_is_told_before_anything_is_done() -> None:
    with recording() as recorder, pytest.raises(CommandError, match="--nonsense is unknown"):
        run([recorder.url, "--nonsense"])

    assert recorder.requests == []


def test_help_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["--help"])

    assert caught.value.code == 0
    assert capfd.readouterr().out.startswith("usage: haclient request")
