"""A request's way out through a proxy, and through TLS."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.errors import (
    ProxyError,
)
from haclient.types import Endpoint, Verdict
from tests.engine.tls_origin import SECURE, TlsOrigin
from tests.engine.world import A, B, World, world
from tests.sim.dns import Answer
from tests.sim.stream import SimStream


class TestProxy:
    async def test_a_forward_proxy_is_told_the_whole_url(self, autojump_clock: MockClock) -> None:
        async with world(proxy="http://user:secret@c.test/") as w:
            outcome = await w.ask("GET", "http://a.test/x?y=1")
            assert outcome.server == "c"
            [request] = w.c.executed
            assert request.target == b"http://a.test/x?y=1"
            assert request.value(b"host") == b"a.test"
            assert request.value(b"proxy-authorization") == b"Basic dXNlcjpzZWNyZXQ="


class TestTls:
    """Real TLS over simulated bytes; b.test's address serves a.test as well."""

    def listen(self, w: World, secure: TlsOrigin) -> None:
        for endpoint in (SECURE, Endpoint(B.address, 443)):
            w.listen(endpoint, secure.script)
        w.resolver.script("a.test", Answer(A.address, B.address))

    @pytest.mark.parametrize("length", [0, 1000, 40_000, 65_536, 300_000])
    async def test_content_of_any_length(
        self, autojump_clock: MockClock, secure: TlsOrigin, length: int
    ) -> None:
        async with world() as w:
            self.listen(w, secure)
            for is_reused in (False, True):
                response = await w.client.put("/x", target=secure.target, content=bytes(length))
                assert await response.read() == b"PUT /x " + bytes(length)
                [record] = response.attempts
                assert record.reused == is_reused
                assert record.bytes_sent > length

    async def test_a_verdict_is_heard_while_records_wait_for_room(
        self, autojump_clock: MockClock, secure: TlsOrigin
    ) -> None:
        async with world() as w:
            self.listen(w, secure)
            await w.client.get("/", target=secure.target)
            w.network.blackhole(A.address)
            response = await w.client.put("/x", target=secure.target, content=bytes(65_536))
            assert await response.read() == b"PUT /x " + bytes(65_536)
            assert [record.verdict for record in response.attempts] == [
                Verdict.DEAD,
                Verdict.ANSWERED,
            ]
            assert trio.current_time() == pytest.approx(1.0, abs=0.1)

    async def test_through_a_proxys_tunnel(
        self, autojump_clock: MockClock, secure: TlsOrigin
    ) -> None:
        asked: list[bytes] = []

        async def tunnel(stream: SimStream) -> None:
            asked.append(await stream.receive_some())
            await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await secure.script(stream)

        async with world(proxy="http://user:secret@c.test:80/") as w:
            w.listen(Endpoint("10.0.0.3", 80), tunnel)
            for _ in range(2):
                response = await w.client.get("/x", target=secure.target)
                assert await response.read() == b"GET /x "
            assert response.attempts[0].reused
            assert len(asked) == 1
            assert asked[0].startswith(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n")

    async def test_a_proxy_that_says_no(self, autojump_clock: MockClock, secure: TlsOrigin) -> None:
        async def refuse(stream: SimStream) -> None:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await trio.sleep_forever()

        async with world(proxy="http://c.test:80/") as w:
            w.listen(Endpoint("10.0.0.3", 80), refuse)
            outcome = await w.request("GET", "/x", target=secure.target)
            assert type(outcome.error) is ProxyError
            assert "answered CONNECT with 403" in str(outcome.error)
