"""Who was turned away, in the log: the first at once, a crowd as one line each ten seconds."""

from __future__ import annotations

from tempfile import TemporaryFile

from haclient.core.config import LogSettings
from haclient.ops.log import Log
from haclient.ops.turned_away_log import ONE_EACH, TurnedAwayLog
from haclient.proxy.record import Reason, TurnedAway


def turned_away(listener: str = "orders", request_id: str = "") -> TurnedAway:
    return TurnedAway(
        listener=listener,
        client="unix",
        reason=Reason.UID,
        detail="user id 33 is not in allow_uids",
        request_id=request_id,
    )


def told(*when: tuple[float, str]) -> list[str]:
    """The lines, without their times."""
    with TemporaryFile() as stderr:
        log = Log(LogSettings(), stderr, True, lambda: 0)
        tell = TurnedAwayLog(log)
        for at, listener in when:
            tell(turned_away(listener), at)
        log.close()
        stderr.seek(0)
        return stderr.read().decode().splitlines()


LINE = '<4>turned away listener=orders client=unix why="user id 33 is not in allow_uids"'


def test_the_first_has_a_line() -> None:
    assert told((5.0, "orders")) == [LINE]


def test_a_crowd_has_one_each_ten_seconds() -> None:
    crowd = [(n / 100, "orders") for n in range(1000)]
    assert told(*crowd, (ONE_EACH, "orders"), (2 * ONE_EACH, "orders")) == [
        LINE,
        LINE + " others=999",
        LINE,
    ]


def test_each_listener_has_its_own() -> None:
    assert len(told((0.0, "orders"), (0.1, "shop"), (0.2, "orders"))) == 2


def test_one_that_was_answered_is_known_by_its_id() -> None:
    with TemporaryFile() as stderr:
        log = Log(LogSettings(), stderr, True, lambda: 0)
        TurnedAwayLog(log)(turned_away(request_id="7"), 0.0)
        log.close()
        stderr.seek(0)
        assert stderr.read().decode().splitlines() == [LINE + " id=7"]
