"""One try: what it makes of what it meets, and the record that it leaves."""

from __future__ import annotations

import errno
import os

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.core.idempotency import RequestFacts
from haclient.engine.attempt import Attempt
from haclient.engine.outcome import Request
from haclient.engine.replay import as_content
from haclient.errors import (
    BadRequestError,
    ServerDiedError,
)
from haclient.net import Transport
from haclient.types import Endpoint, EvidenceKind, Phase, Verdict
from tests.engine.world import BOTH, ONE, A, world
from tests.sim.effects import AfterContentBytes, AfterRequest, Blackhole, Fault, Reset
from tests.sim.network import SimNetwork
from tests.sim.origin import Reply
from tests.sim.stream import SimStream


class TestRecord:
    async def test_of_an_answer(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.network.path(A).delay = 0.1
            w.a.reply = Reply(think=1.0)
            w.resolver.asked.clear()
            [record] = (await w.ask("PUT", target=ONE, content=b"abc")).records
            assert (record.number, record.endpoint, record.status) == (1, A, 200)
            assert (record.phase, record.verdict) == (Phase.DONE, Verdict.ANSWERED)
            assert record.started_at == record.resolved_at == 0.0
            assert record.connected_at == record.usable_at == record.sent_at == 0.2
            assert record.first_byte_at == record.ended_at == pytest.approx(1.4)
            assert record.local is not None
            assert [one.endpoint for one in record.connection_attempts] == [A]
            assert record.describe() == "10.0.0.1:80: answered with 200 after 1.40 s"

    @pytest.mark.parametrize(
        ("broken", "verdict", "evidence", "words"),
        [
            (
                errno.ETIMEDOUT,
                Verdict.DEAD,
                EvidenceKind.TIMED_OUT,
                "kernel timed the connection out",
            ),
            (errno.ECONNRESET, Verdict.CLOSED, EvidenceKind.RESET, "connection reset"),
            (errno.EPIPE, Verdict.CLOSED, EvidenceKind.RESET, "connection reset"),
            (errno.EHOSTUNREACH, Verdict.DEAD, EvidenceKind.UNREACHABLE, "reported unreachable"),
            (0, Verdict.CLOSED, None, "the connection broke"),
        ],
        ids=["timed out", "reset", "broken pipe", "unreachable", "without a word"],
    )
    async def test_of_a_connection_that_the_kernel_gave_up(
        self,
        autojump_clock: MockClock,
        broken: int,
        verdict: Verdict,
        evidence: EvidenceKind | None,
        words: str,
    ) -> None:
        async with world(dialer=lambda network: BreakingDialer(network, broken)) as w:
            outcome = await w.ask("POST", target=ONE)
            assert type(outcome.error) is ServerDiedError
            [record] = outcome.records
            assert (record.evidence and record.evidence.kind) == evidence
            assert record.verdict is verdict
            assert f"10.0.0.1:80: {verdict.value} while waiting after 0.00 s ({words})" in str(
                outcome.error
            )

    async def test_a_suspicion_is_no_reason_for_what_the_server_did(
        self, autojump_clock: MockClock
    ) -> None:
        """It was cut off for a moment, was suspect, and closes the connection itself."""

        async def vanish_and_close(stream: SimStream) -> None:
            await stream.receive_some()
            w.network.blackhole(A)
            await trio.sleep(1.2)
            w.network.heal(A)
            stream.close()

        async with world() as w:
            w.listen(A, vanish_and_close)
            outcome = await w.ask("POST", target=ONE)
            [record] = outcome.records
            assert w.told(events.Suspected)
            assert (record.verdict, record.evidence) == (Verdict.CLOSED, None)
            assert record.detail == "the server closed the connection"

    async def test_of_a_request_that_cannot_be_put_on_the_wire(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            outcome = await w.ask("GET", target=ONE, headers={"X": "a\r\nY: b"})
            assert type(outcome.error) is BadRequestError
            assert outcome.verdicts == [Verdict.FAILED]
            assert outcome.records[0].bytes_sent == 0
            assert w.network.open_streams() == ()


class TestWatched:
    async def test_probes_stop_with_the_answer(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(think=5.0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(w.ask, "GET", "http://a.test/")
                await trio.sleep(3.0)
                [(client, _)] = w.network.connections
                is_probing = client.is_probing
            assert is_probing
            assert not client.is_probing
            segments = client.end.segs_out
            await trio.sleep(10.0)
            assert client.end.segs_out == segments

    async def test_a_whole_answer_may_be_suspect_in_the_midst_of_its_content(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Blackhole(1.3), AfterContentBytes(2))) as w:
            w.b.reply = Reply(think=9.0)
            outcome = await w.ask("GET", target=BOTH)
            assert outcome.content == b"a: GET / \n"
            assert outcome.verdicts == [Verdict.ANSWERED, Verdict.SUPERSEDED]

    async def test_a_stream_whose_server_dies_breaks_off(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Blackhole(), AfterContentBytes(2))) as w:
            outcome = await w.ask("GET", target=BOTH, whole=False)
            assert outcome.verdicts == [Verdict.DEAD]
            assert outcome.content == b"a:"
            assert outcome.took == pytest.approx(2.5)

    async def test_news_of_the_exchange_before_are_none(self, autojump_clock: MockClock) -> None:
        """The answer and the news of the watch may come at the same instant."""
        async with world() as w:
            await w.ask("GET", target=ONE)
            [(client, _)] = w.network.connections
            client.interrupt()
            w.a.reply = Reply(think=1.0)
            outcome = await w.ask("GET", target=ONE)
            assert outcome.verdicts == [Verdict.ANSWERED]
            assert outcome.records[0].reused


async def test_nobody_is_told_where_nobody_listens(autojump_clock: MockClock) -> None:
    async with world(Fault(Reset(), AfterRequest())) as w:
        w.client._observe = None
        w.a.reply = w.b.reply = Reply(interim=(103,))
        response = await w.client.get("/", target=BOTH)
        assert [record.verdict for record in response.attempts] == [
            Verdict.CLOSED,
            Verdict.ANSWERED,
        ]
        async with w.client.stream("GET", "/", target=BOTH):
            pass
        assert w.events == []


async def test_its_name_says_where_it_stands(autojump_clock: MockClock) -> None:
    async with world() as w:
        request = Request("GET", "/", (), as_content(None, 0), RequestFacts("GET"))
        live = w.client._live_for(ONE, ONE)
        attempt = Attempt(1, live, request, set(), None)
        assert repr(attempt) == "<Attempt 1 at http://a.test, resolving>"
        await attempt.advance()
        assert repr(attempt) == "<Attempt 1 at 10.0.0.1:80, receiving>"
        attempt.abandon(Verdict.CANCELLED)
        attempt.abandon(Verdict.DEAD)
        attempt.talk._note_sent()  # an upload may end in the very moment in which it is stopped
        assert attempt.talk.sent_at == 0.0
        assert attempt.record is not None
        assert attempt.record.verdict is Verdict.CANCELLED


class BreakingDialer:
    """Its connections break at the first read, for the reason given."""

    def __init__(self, network: SimNetwork, code: int) -> None:
        self._network = network
        self._code = code

    async def connect(self, endpoint: Endpoint) -> Transport:
        stream = await self._network.connect(endpoint)

        async def receive_some(max_bytes: int | None = None) -> bytes:
            if not self._code:
                raise trio.BrokenResourceError
            cause = OSError(self._code, os.strerror(self._code))
            raise trio.BrokenResourceError from cause

        stream.receive_some = receive_some  # type: ignore[method-assign]
        return stream
