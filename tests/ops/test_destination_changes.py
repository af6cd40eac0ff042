"""What becomes of the addresses of a forward listener's destinations."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import ListenerSettings, LogSettings, Mode, TcpBind
from haclient.core.destination import Destination
from haclient.engine.live import LiveTarget
from haclient.ops.book import Book
from haclient.ops.changes import Changes
from haclient.ops.log import Log
from haclient.ops.status_build import build_status
from haclient.ops.status_report import DestinationReport, EndpointReport
from haclient.types import Endpoint
from tests.support.running import Running, running

A, B, OF_TARGET = Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80), Endpoint("127.0.0.1", 9)

PROXY = ListenerSettings(
    name="proxy",
    bind=TcpBind("127.0.0.1", 0),
    mode=Mode.FORWARD,
    allow=AllowList((parse_rule("*:*"),)),
)


class World:
    """A daemon, what its log has, and what its events tell."""

    def __init__(self, daemon: Running, folder: Path) -> None:
        self.daemon = daemon
        self.book = Book()
        self.health = daemon.sidecar.gateway.engine.health
        self._path = folder / "stderr"
        with self._path.open("wb") as stream:
            self.log = Log(LogSettings(), stream, under_journal=False)
        self._changes = Changes(daemon, self.book, self.log)
        reader = self.book.feed.join()
        assert reader is not None
        self._reader = reader
        self.look(0.0)

    def reached(self, host: str, *endpoints: Endpoint) -> LiveTarget:
        """The listener was asked for it, and these are its addresses."""
        kept = self.daemon.sidecar.gateway.destinations_of(PROXY)
        live = kept.find(Destination(host, 80), is_tunnel=False)
        assert isinstance(live, LiveTarget)
        live.known[live.spec.urls[0].origin] = endpoints
        return live

    def fail(self, endpoint: Endpoint, now: float) -> None:
        self.health.report_failure(endpoint, now, self.health.generation(endpoint), "refused")

    def look(self, now: float) -> None:
        self._changes.look(now)

    def lines(self) -> list[str]:
        found = [line.split(" ", 1)[1] for line in self._path.read_text().splitlines()]
        self._path.open("wb").close()
        return found

    def events(self) -> list[dict[str, Any]]:
        blocks = self._reader.take().decode().split("\n\n")[:-1]
        health = [block for block in blocks if "event: health" in block]
        return [json.loads(block.rpartition("data: ")[2]) for block in health]


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with running([OF_TARGET]) as daemon:
        w = World(daemon, folder)
        try:
            yield w
        finally:
            w.log.close()


async def test_an_address_from_its_failure_until_it_answers(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.reached("shop.test", A, B)
        w.fail(A, 100.0)
        w.look(100.0)
        w.look(101.0)
        w.look(106.0)  # its hold is over
        w.book.known.note(A, is_good=True)
        w.health.report_success(A, 107.0, w.health.generation(A))
        w.look(107.0)
        w.look(108.0)
        events, lines = w.events(), w.lines()
    assert [(one["was"], one["state"], one["why"]) for one in events] == [
        ("ok", "held down", "refused"),
        ("held down", "failed", "refused"),
        ("failed", "ok", ""),
    ]
    assert events[0]["listeners"] == ["proxy"]
    assert events[0]["targets"] == []
    assert events[0]["destinations"] == ["http://shop.test"]
    where = "address=10.0.0.1:80 listeners=proxy destinations=http://shop.test"
    assert lines == [
        f"warning an address is held down {where} why=refused held_for=5.000",
        f"info an address answers again {where}",
    ]


async def test_lines_are_not_at_a_clients_will(tmp_path: Path) -> None:
    """A hundred names, each of which leads to nobody."""
    async with world(tmp_path) as w:
        for number in range(100):
            endpoint = Endpoint(f"10.0.1.{number}", 80)
            w.reached(f"n{number}.test", endpoint)
            w.fail(endpoint, 100.0)
            w.look(100.0)
        w.reached("shop.test", A)
        w.fail(A, 110.0)
        w.look(110.0)
        w.health.report_success(Endpoint("10.0.1.7", 80), 111.0, 1_000)
        w.look(111.0)  # of whom nothing was told
        lines = w.lines()
    assert len(lines) == 2
    assert lines[0].endswith("held_for=5.000")
    assert lines[1].startswith("warning an address is held down address=10.0.0.1:80 ")
    assert lines[1].endswith("others=99")


async def test_what_is_not_a_destinations_alone_is_told_elsewhere(tmp_path: Path) -> None:
    """Of a target's address the target tells; of one that nobody has any more, nobody."""
    async with world(tmp_path) as w:
        target = w.daemon.sidecar.gateway.targets["a"]
        target.known[target.spec.urls[0].origin] = (OF_TARGET,)
        w.reached("shop.test", OF_TARGET, A)
        w.fail(OF_TARGET, 100.0)
        w.fail(B, 100.0)
        w.look(100.0)
        assert [(one["address"], one["destinations"]) for one in w.events()] == [
            ("127.0.0.1:9", [])
        ]
        w.fail(A, 100.0)
        w.look(100.0)
        w.daemon.sidecar.gateway.forget_other_destinations([])
        w.look(101.0)
        assert [one["state"] for one in w.events()] == ["held down"]


async def test_no_more_than_four_of_a_hundred_names_are_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for number in range(100):
            w.reached(f"n{number}.test", A)
        w.fail(A, 100.0)
        w.look(100.0)
        [event] = w.events()
    assert event["destinations"] == [f"http://n{number}.test" for number in range(4)]


async def test_the_status_report_has_those_with_an_address(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.reached("shop.test", A)
        w.reached("nowhere.test")
        w.fail(A, trio.current_time())
        report = build_status(w.daemon, w.book, 0.0)
    [found] = report.destinations
    assert found == DestinationReport(
        listener="proxy",
        origin="http://shop.test",
        endpoints=(
            EndpointReport(
                address="10.0.0.1:80",
                origin="http://shop.test",
                state="held down",
                held_for=found.endpoints[0].held_for,
                failures=1,
            ),
        ),
    )
