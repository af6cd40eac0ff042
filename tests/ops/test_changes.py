"""What changed between two looks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from haclient.core.config import LogSettings
from haclient.core.health_check import HealthCheck, Opinion, Result
from haclient.core.spec import HealthRequests, Target
from haclient.engine.checks import Checked
from haclient.engine.health_request import Told
from haclient.engine.live import LiveTarget
from haclient.ops.book import Book
from haclient.ops.changes import Changes
from haclient.ops.feed import Reader
from haclient.ops.log import Log
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.types import Endpoint
from tests.support.running import Running, running

A, B = Endpoint("127.0.0.1", 9), Endpoint("127.0.0.2", 9)


def told(reader: Reader) -> list[tuple[str, Any]]:
    blocks = reader.take().decode().split("\n\n")[:-1]
    lines = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return [(each["event"], json.loads(each["data"])) for each in lines]


def looking(daemon: Running, log: Log) -> tuple[Changes, Reader, Book]:
    book = Book()
    reader = book.feed.join()
    assert reader is not None
    return Changes(daemon, book, log), reader, book


class Lines:
    """A log, and what it wrote, without the times."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("wb") as stream:
            self.log = Log(LogSettings(), stream, under_journal=False)

    def take(self) -> list[str]:
        lines = [line.split(" ", 1)[1] for line in self._path.read_text().splitlines()]
        self._path.open("wb").close()
        return lines


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    lines = Lines(tmp_path / "stderr")
    yield lines
    lines.log.close()


async def test_the_first_look_compares_with_nothing(lines: Lines) -> None:
    async with running([A]) as daemon:
        changes, reader, _ = looking(daemon, lines.log)
        gateway = daemon.sidecar.gateway
        now = trio.current_time()
        gateway.engine.health.report_failure(A, now, 0)
        live = gateway.targets["a"]
        live.known[live.spec.urls[0].origin] = (A,)
        changes.look(now)
        changes.look(now)
        assert told(reader) == []


async def test_health_from_first_to_last(lines: Lines) -> None:
    async with running([A], [A]) as daemon:
        changes, reader, book = looking(daemon, lines.log)
        gateway = daemon.sidecar.gateway
        health = gateway.engine.health
        for live in gateway.targets.values():
            live.known[live.spec.urls[0].origin] = (A,)
        changes.look(100.0)

        book.known.note(A, is_good=True)
        changes.look(100.0)  # a first success is no news
        health.report_suspect(A, 100.0, 0)
        changes.look(100.0)
        book.known.note(A, is_good=False, why="refused")
        health.report_failure(A, 101.0, 0)
        changes.look(101.0)
        health.report_failure(A, 102.0, health.generation(A))  # again, in the middle of its hold
        changes.look(102.0)
        changes.look(108.0)  # a timer has run out: nobody knows that it is well
        changes.look(1000.0)  # nor after the engine has forgotten it
        health.report_failure(A, 1000.0, 10)
        changes.look(1000.0)
        health.report_success(A, 1001.0, health.generation(A))
        book.known.note(A, is_good=True)
        changes.look(1001.0)

        events = told(reader)
    assert [kind for kind, _ in events] == ["health"] * 5
    states = [(data["was"], data["state"], data["held_for"], data["why"]) for _, data in events]
    assert states == [
        ("ok", "suspect", None, ""),
        ("suspect", "held down", 5.0, "refused"),
        ("held down", "failed", None, "refused"),
        ("failed", "held down", 5.0, "refused"),
        ("held down", "ok", None, ""),
    ]
    assert events[0][1]["targets"] == ["a", "b"]
    assert lines.take() == [
        "warning an address is held down address=127.0.0.1:9 targets=a,b why=refused held_for=5.000",
        "error every address of a target has failed target=a addresses=127.0.0.1:9",
        "error every address of a target has failed target=b addresses=127.0.0.1:9",
        "info an address answers again address=127.0.0.1:9 targets=a,b",
        "info a target has an address again target=a",
        "info a target has an address again target=b",
    ]


async def test_who_answered_health_requests_alone_is_well_for_good(lines: Lines) -> None:
    """A restarted server that nobody asks: it must not have failed again once that is forgotten."""
    async with running([A]) as daemon:
        changes, _, book = looking(daemon, lines.log)
        gateway = daemon.sidecar.gateway
        health, live = gateway.engine.health, gateway.targets["a"]
        live.known[live.spec.urls[0].origin] = (A,)
        changes.look(100.0)
        book.known.note(A, is_good=False, why="closed")
        health.report_failure(A, 100.0, 0)
        changes.look(100.0)
        lines.take()
        health.report_success(A, 102.0, health.generation(A))
        changes.look(102.0)
        assert not health.snapshot(200.0)
        assert book.known.state(A, None) == "ok"
        changes.look(200.0)
        assert lines.take() == [
            "info an address answers again address=127.0.0.1:9 targets=a",
            "info a target has an address again target=a",
        ]


async def test_why_where_no_exchange_has_told(lines: Lines) -> None:
    """Found by a health request, a trial, or a request that goes on elsewhere and is not over yet."""
    async with running([A]) as daemon:
        changes, reader, _ = looking(daemon, lines.log)
        gateway = daemon.sidecar.gateway
        live = gateway.targets["a"]
        live.known[live.spec.urls[0].origin] = (A,)
        changes.look(100.0)
        gateway.engine.health.report_failure(A, 100.0, 0, "timed out")
        changes.look(100.0)
        [(_, change)] = told(reader)
        assert change["why"] == "timed out"
        assert 'targets=a why="timed out" held_for=5.000' in lines.take()[0]


async def test_a_target_is_out_only_with_its_last_address(lines: Lines) -> None:
    async with running([A, B]) as daemon:
        changes, _, book = looking(daemon, lines.log)
        health = daemon.sidecar.gateway.engine.health
        live = daemon.sidecar.gateway.targets["a"]
        live.known[live.spec.urls[0].origin] = (A, B)
        changes.look(100.0)
        health.report_failure(A, 100.0, 0)
        changes.look(100.0)
        assert [line.split(" ", 1)[0] for line in lines.take()] == ["warning"]
        health.report_suspect(B, 100.0, 0)
        changes.look(100.0)
        assert lines.take() == []
        health.report_failure(B, 101.0, 0)
        changes.look(101.0)
        assert [line.split(" ", 1)[0] for line in lines.take()] == ["warning", "error"]
        changes.look(500.0)  # all holds are over; nobody has been asked since
        assert lines.take() == []
        book.known.note(B, is_good=True)
        changes.look(500.0)
        assert [line.split(" ", 1)[0] for line in lines.take()] == ["info", "info"]


async def test_an_address_that_is_taken_away_is_not_told_of(lines: Lines) -> None:
    async with running([A]) as daemon:
        changes, reader, _ = looking(daemon, lines.log)
        live = daemon.sidecar.gateway.targets["a"]
        live.known[live.spec.urls[0].origin] = (A,)
        changes.look(100.0)
        daemon.sidecar.gateway.engine.health.report_failure(A, 100.0, 0)
        changes.look(100.0)
        live.known.clear()
        changes.look(100.0)
        kinds = [kind for kind, _ in told(reader)]

    assert kinds == ["health"]
    assert len(lines.take()) == 2


async def test_names(lines: Lines) -> None:
    async with running([A]) as daemon:
        changes, reader, _ = looking(daemon, lines.log)
        live = daemon.sidecar.gateway.targets["a"]
        origin = live.spec.urls[0].origin
        changes.look(100.0)
        for endpoints in ((A,), (A,), (A, B), (B, A), (B,), ()):
            live.known[origin] = endpoints
            changes.look(100.0)
        events = told(reader)

    assert {kind for kind, _ in events} == {"names"}
    assert [(data["was"], data["addresses"]) for _, data in events] == [
        ([], ["127.0.0.1:9"]),
        (["127.0.0.1:9"], ["127.0.0.1:9", "127.0.0.2:9"]),
        (["127.0.0.2:9", "127.0.0.1:9"], ["127.0.0.2:9"]),
        (["127.0.0.2:9"], []),
    ]
    assert {data["origin"] for _, data in events} == {str(origin)}


async def test_a_target_that_a_reload_removed_is_no_change_of_a_name(lines: Lines) -> None:
    async with running([A]) as daemon:
        changes, reader, _ = looking(daemon, lines.log)
        gateway = daemon.sidecar.gateway
        live = gateway.targets["a"]
        live.known[live.spec.urls[0].origin] = (A,)
        changes.look(100.0)
        gateway.targets = {}
        changes.look(100.0)
        assert told(reader) == []


async def test_literals_and_targets_made_anew_are_no_change(lines: Lines) -> None:
    async with running([A]) as daemon:
        changes, reader, _ = looking(daemon, lines.log)
        engine, gateway = daemon.sidecar.gateway.engine, daemon.sidecar.gateway
        literal = LiveTarget(Target(urls=["http://127.0.0.1:9"]), engine)
        gateway.targets["literal"] = literal
        changes.look(100.0)
        literal.known[literal.spec.urls[0].origin] = (A,)
        named = gateway.targets["a"]
        named.known[named.spec.urls[0].origin] = (A,)
        changes.look(100.0)
        assert [data["target"] for _, data in told(reader)] == ["a"]
        anew = gateway.targets["a"] = LiveTarget(named.spec, engine)
        changes.look(100.0)
        anew.known[named.spec.urls[0].origin] = (A,)
        changes.look(100.0)
        assert told(reader) == []


async def test_what_health_requests_say_is_told_once(lines: Lines) -> None:
    health = HealthRequests(path="/health", interval=1000.0)
    async with running([A], health=health) as daemon:
        changes, reader, book = looking(daemon, lines.log)
        live = daemon.sidecar.gateway.targets["a"]
        assert live.checks is not None
        [origin] = [url.origin for url in live.spec.urls]
        live.known[origin] = (A,)
        check, told_last = HealthCheck(health, 100.0, 0.5), Told(Result.OK, "answered with 200")
        live.checks.by_endpoint[A] = Checked(origin, A, check, trio.CancelScope(), told_last)
        changes.look(100.0)
        assert book.known.state(A, None) == "ok"  # though no request went there
        live.unfit[A] = Opinion.UNAVAILABLE
        live.checks.by_endpoint[A].told = Told(Result.UNAVAILABLE, "answered with 503")
        changes.look(101.0)
        changes.look(102.0)
        live.checks.by_endpoint[A].told = Told(Result.OK, "answered with 200")
        changes.look(102.5)  # one good one of the two that it takes
        live.unfit[A] = Opinion.SILENT
        live.checks.by_endpoint[A].told = Told(Result.SILENT, "no answer within 2 s")
        changes.look(103.0)
        live.unfit.clear()
        live.checks.by_endpoint[A].told = Told(Result.REJECTED, "answered with 404")
        changes.look(104.0)
        changes.look(105.0)
        live.checks.by_endpoint[A].told = Told(Result.OK, "answered with 200")
        changes.look(106.0)
        events = told(reader)
    states = [(data["was"], data["state"], data["why"]) for _, data in events]
    assert states == [
        ("ok", "unavailable", "health request: answered with 503"),
        ("unavailable", "suspect", "health request: no answer within 2 s"),
        ("suspect", "ok", ""),
    ]
    assert lines.take() == [
        "warning an address is unavailable address=127.0.0.1:9 targets=a "
        'why="health request: answered with 503"',
        "info an address answers again address=127.0.0.1:9 targets=a",
        "warning health requests tell nothing: correct the path of the target's health target=a "
        'path=/health address=127.0.0.1:9 why="answered with 404"',
    ]


def exchange(name: str) -> ExchangeRecord:
    """At the listener and the target of that name."""
    return ExchangeRecord(
        listener=name,
        target=name,
        client="127.0.0.1:50312",
        request_id="7f3a",
        method="GET",
        path="/",
        host="orders.internal",
        http_version="1.1",
        status=200,
        outcome=Outcome.ANSWERED,
        began_at=100.0,
        ended_at=100.02,
        attempts=(),
    )


async def test_what_a_reload_removed_is_forgotten_though_nobody_asks(lines: Lines) -> None:
    """Else names without end would cost memory without end."""
    async with running([A], [B]) as daemon:
        changes, _, book = looking(daemon, lines.log)
        for name in ("a", "b"):
            book.tell(exchange(name))
        changes.look(trio.current_time())
        assert set(book.rows) == {("a", "a"), ("b", "b")}
        config = daemon.sidecar.config
        daemon.sidecar.apply(
            type(config)(targets={"a": config.targets["a"]}, listeners=config.listeners[:1])
        )
        changes.look(trio.current_time())
        assert set(book.rows) == {("a", "a")}
