"""One health request: what comes of it, and how long it takes, by what the server's side does."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from haclient.core.health_check import Result
from haclient.core.spec import HealthRequests, Target, TlsSettings
from haclient.engine.health_request import Told, ask_health
from haclient.engine.live import LiveTarget
from haclient.types import ConnectFailure, Endpoint
from tests.engine.tls_origin import SECURE, TlsOrigin
from tests.engine.world import A, World, world
from tests.sim.effects import (
    AfterHeadBytes,
    AfterRequest,
    Blackhole,
    Fault,
    Fin,
    Garbage,
    HalfOpen,
    OnConnect,
    Reset,
)
from tests.sim.origin import Reply
from tests.sim.stream import SimStream

HEALTH = HealthRequests(path="/health?deep=1")
TARGET = Target(urls=["http://a.test/shop/"], health=HEALTH)


async def ask(w: World, target: Target = TARGET, endpoint: Endpoint = A) -> tuple[Told, float]:
    """What came of it, and in how many seconds; nothing is left behind."""
    live = LiveTarget(target, w.engine)
    began_at = trio.current_time()
    told = await ask_health(live, live.spec.urls[0].origin, endpoint)
    assert w.network.open_streams() == ()
    assert not live.pool.has_connections
    return told, round(trio.current_time() - began_at, 6)


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.OK),
        (204, Result.OK),
        (301, Result.OK),
        (404, Result.REJECTED),
        (500, Result.UNAVAILABLE),
        (503, Result.UNAVAILABLE),
    ],
)
async def test_an_answer(autojump_clock: MockClock, status: int, result: Result) -> None:
    async with world() as w:
        w.a.reply = Reply(status, interim=(103,))
        assert await ask(w) == (Told(result, f"answered with {status}"), 0.0)
        [request] = w.a.executed
        assert (request.method, request.target) == (b"GET", b"/shop/health?deep=1")
        assert dict(request.fields) | {b"User-Agent": b""} == {
            b"Host": b"a.test",
            b"User-Agent": b"",
            b"Accept": b"*/*",
            b"Connection": b"close",
        }
        assert (request.value(b"user-agent") or b"").startswith(b"haclient/")


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (Fault(Fin(), AfterRequest()), "closed the connection"),
        (Fault(Fin(), AfterHeadBytes(10)), "closed the connection"),
        (Fault(Reset(), AfterRequest()), "reset"),
        (Fault(HalfOpen(), OnConnect()), "reset"),
        (Fault(Garbage(), AfterRequest()), "HTTP"),
    ],
    ids=str,
)
async def test_an_end_without_an_answer(
    autojump_clock: MockClock, fault: Fault, detail: str
) -> None:
    async with world(fault) as w:
        told, took = await ask(w)
        assert (told.result, told.failure, took) == (Result.BROKEN, None, 0.0)
        assert detail in told.detail


async def test_silence(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.a.reply = Reply(think=1e6)
        assert await ask(w) == (Told(Result.SILENT, "no answer within 2 s"), 2.0)


async def test_silence_in_the_midst_of_a_head(autojump_clock: MockClock) -> None:
    async with world(Fault(Blackhole(), AfterHeadBytes(10))) as w:
        assert (await ask(w))[0].result is Result.SILENT


async def test_what_is_not_acknowledged_is_no_silence_of_the_application(
    autojump_clock: MockClock,
) -> None:
    async with world(Fault(Blackhole(), OnConnect())) as w:
        detail = "not acknowledged within 2 s"
        told = Told(Result.NOT_CONNECTED, detail, ConnectFailure.TIMED_OUT)
        assert await ask(w) == (told, 2.0)


async def test_a_connect_that_fails(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.network.refuse(A)
        told, took = await ask(w)
        assert (told.result, told.failure) == (Result.NOT_CONNECTED, ConnectFailure.REFUSED)
        assert (told.detail, took) == ("Connection refused", 0.0)
        w.network.blackhole(A)
        told, took = await ask(w)
        assert (told.result, told.failure) == (Result.NOT_CONNECTED, ConnectFailure.TIMED_OUT)
        assert (told.detail, took) == ("no connection within 1 s", 1.0)


class TestTls:
    async def test_an_answer(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        secure = TlsOrigin(tmp_path)
        target = Target(urls=["https://a.test/"], tls=secure.tls, health=HEALTH)
        async with world() as w:
            w.listen(SECURE, secure.script)
            told, took = await ask(w, target, SECURE)
            assert (told, took) == (Told(Result.OK, "answered with 200"), 0.0)

    async def test_a_certificate_that_is_not_trusted(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        target = Target(urls=["https://a.test/"], health=HEALTH)
        async with world() as w:
            w.listen(SECURE, TlsOrigin(tmp_path).script)
            told, _ = await ask(w, target, SECURE)
            assert told.result is Result.NOT_CONNECTED
            assert told.failure is ConnectFailure.CERTIFICATE

    async def test_a_handshake_that_nobody_answers(self, autojump_clock: MockClock) -> None:
        async def says_nothing(stream: SimStream) -> None:
            while await stream.receive_some(65536):
                pass
            stream.close()

        target = Target(urls=["https://a.test/"], health=HEALTH)
        async with world() as w:
            w.listen(SECURE, says_nothing)
            assert await ask(w, target, SECURE) == (
                Told(Result.SILENT, "no answer within 2 s"),
                2.0,
            )

    async def test_a_file_of_ours_that_cannot_be_used(self, autojump_clock: MockClock) -> None:
        tls = TlsSettings(ca_file="/nonexistent")
        target = Target(urls=["https://a.test/"], tls=tls, health=HEALTH)
        async with world() as w:
            w.listen(SECURE, lambda stream: stream.aclose())
            told, _ = await ask(w, target, SECURE)
            assert (told.result, told.failure) == (Result.NOT_CONNECTED, ConnectFailure.LOCAL)
            assert "/nonexistent" in told.detail
