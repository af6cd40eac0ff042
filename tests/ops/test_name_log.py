"""Each thing that the resolver tells is one line of the log, of the gravity that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from haclient.core.config import LogSettings
from haclient.core.dns_cache import StaleBegan, StaleEnded
from haclient.net.name_memory import ResolverEvent
from haclient.net.state_file import StateFileTrouble
from haclient.ops.log import Log
from haclient.ops.name_log import name_log


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            StaleBegan("orders.internal", "no name server answered"),
            'warning name servers fail, the last answer serves on name=orders.internal '
            'error="no name server answered"',
        ),
        (
            StaleEnded("orders.internal", 12.5),
            "info name servers answer again name=orders.internal after=12.500",
        ),
        (
            StaleEnded("orders.internal", 3600.0, "no such name"),
            'error the last answer serves no more name=orders.internal after=3600.000 '
            'error="no such name"',
        ),
        (
            StateFileTrouble("/var/lib/haclient/names.json", "it cannot be written"),
            'warning state file path=/var/lib/haclient/names.json detail="it cannot be written"',
        ),
    ],
    ids=["it begins", "it ends well", "it ends badly", "the state file"],
)  # fmt: skip
def test_what_is_told(event: ResolverEvent, line: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as stream:
        log = Log(LogSettings(), stream, under_journal=False)
        name_log(log)(event)
        log.close()
    (written,) = path.read_text().splitlines()
    assert written.partition(" ")[2] == line
