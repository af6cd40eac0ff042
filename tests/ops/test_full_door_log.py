"""A door that is full, in the log: the first time at once, then one line a minute."""

from __future__ import annotations

from tempfile import TemporaryFile

from haclient.core.config import LogSettings
from haclient.ops.full_door_log import ONE_EACH, FullDoorLog
from haclient.ops.log import Log


def told(*when: tuple[float, str]) -> list[str]:
    """The lines, without their times."""
    with TemporaryFile() as stderr:
        log = Log(LogSettings(), stderr, True, lambda: 0)
        tell = FullDoorLog(log)
        for at, listener in when:
            tell(listener, "no place", at)
        log.close()
        stderr.seek(0)
        return stderr.read().decode().splitlines()


LINE = '<4>clients wait at a full door listener=orders why="no place"'


def test_the_first_has_a_line() -> None:
    assert told((5.0, "orders")) == [LINE]


def test_one_that_stays_full_has_one_a_minute() -> None:
    often = [(n / 10, "orders") for n in range(600)]
    assert told(*often, (ONE_EACH, "orders"), (2 * ONE_EACH, "orders")) == [
        LINE,
        LINE + " others=599",
        LINE,
    ]


def test_each_listener_has_its_own() -> None:
    assert len(told((0.0, "orders"), (0.1, "shop"), (0.2, "orders"))) == 2
