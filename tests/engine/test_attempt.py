"""One try: what it reads, what it makes of what it meets, and the record that it leaves."""

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
    ContentTooLargeError,
    ProtocolError,
    ServerDiedError,
)
from haclient.net import Transport
from haclient.types import Endpoint, EvidenceKind, Phase, Verdict
from tests.engine.world import BOTH, ONE, A, Script, world
from tests.sim.effects import AfterContentBytes, AfterRequest, Blackhole, Fault, Fin, Reset
from tests.sim.network import SimNetwork
from tests.sim.origin import Framing, Reply
from tests.sim.stream import SimStream


def answering(data: bytes) -> Script:
    async def answer(stream: SimStream) -> None:
        await stream.receive_some()
        await stream.send_all(data)
        await trio.sleep_forever()

    return answer


class TestAnswers:
    @pytest.mark.parametrize("framing", Framing, ids=lambda framing: framing.value)
    @pytest.mark.parametrize("whole", [True, False], ids=["read whole", "streamed"])
    async def test_framings(self, autojump_clock: MockClock, framing: Framing, whole: bool) -> None:
        content = bytes(range(256)) * 1000
        async with world() as w:
            w.a.reply = Reply(content=content, framing=framing)
            outcome = await w.ask("GET", target=ONE, whole=whole)
            assert outcome.content == content
            # Only where the connection's end is not the content's may it serve again.
            assert len(w.network.open_streams()) == (framing is not Framing.UNTIL_CLOSE)

    @pytest.mark.parametrize(
        ("method", "status"),
        [("HEAD", 200), ("GET", 204), ("GET", 304)],
        ids=["HEAD", "204", "304"],
    )
    @pytest.mark.parametrize("whole", [True, False], ids=["read whole", "streamed"])
    async def test_answers_without_content(
        self, autojump_clock: MockClock, method: str, status: int, whole: bool
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(status, b"12345")
            outcome = await w.ask(method, target=ONE, whole=whole)
            assert outcome.response is not None
            assert outcome.response.status == status
            assert outcome.content == b""
            assert (await w.ask("GET", target=ONE)).records[0].reused

    async def test_interim_answers_are_told_of(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(interim=(103, 102), think=2.0)
            outcome = await w.ask("GET", target=ONE)
            told = w.told(events.InterimReceived)
            assert [e.status for e in told if isinstance(e, events.InterimReceived)] == [103, 102]
            assert [event.at for event in told] == [0.0, 0.0]
            assert outcome.took == 2.0

    async def test_a_server_that_closes_is_not_leased_again(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(closes=True)
            assert (await w.ask("GET", target=ONE)).error is None
            assert w.network.open_streams() == ()

    @pytest.mark.parametrize("trailing", [b"X-Sum: 7\r\n", b""], ids=["with trailers", "without"])
    async def test_trailers_are_this_answers_own(
        self, autojump_clock: MockClock, trailing: bytes
    ) -> None:
        """They were read from a connection that serves others when somebody looks at them."""

        async def answer(stream: SimStream) -> None:
            while await stream.receive_some():
                head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                await stream.send_all(head + b"1\r\nx\r\n0\r\n" + trailing + b"\r\n")

        async with world() as w:
            w.listen(A, answer)
            response = await w.client.get("http://a.test/")
            async with w.client.stream("GET", "http://a.test/") as other:
                await other.read()
                assert other.attempts[0].reused
            assert response.trailers == other.trailers
            assert response.trailers == (((b"X-Sum", b"7"),) if trailing else ())

    async def test_more_than_is_wanted_whole(self, autojump_clock: MockClock) -> None:
        async with world(max_content=1000) as w:
            w.a.reply = Reply(content=bytes(1001))
            outcome = await w.ask("GET", target=BOTH)
            assert type(outcome.error) is ContentTooLargeError
            assert "larger than 1000 bytes: stream it" in str(outcome.error)
            assert outcome.verdicts == [Verdict.FAILED]
            assert w.network.open_streams() == ()
            assert len((await w.ask("GET", target=BOTH, whole=False)).content) == 1001

    async def test_a_head_without_an_end(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(fields=((b"X-Long", b"x" * 140_000),))
            outcome = await w.ask("POST", target=BOTH)
            assert type(outcome.error) is ProtocolError
            assert "a head of more than 65536 bytes" in str(outcome.error)
            assert outcome.error.stage is Phase.RECEIVING

    async def test_stray_bytes_behind_an_answer_spoil_the_connection(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.listen(
                A, answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n")
            )
            response = await w.client.get("http://a.test/")
            assert await response.read() == b"x"
            assert w.network.open_streams() == ()


class TestConnections:
    async def test_an_idle_one_is_used_again(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            first = await w.ask("GET", target=ONE)
            await trio.sleep(14.0)
            second = await w.ask("GET", target=ONE)
            assert [first.records[0].reused, second.records[0].reused] == [False, True]
            assert first.records[0].local == second.records[0].local
            assert first.records[0].connected_at == 0.0
            assert second.records[0].connected_at is None
            connected = [e for e in w.told(events.Connected) if isinstance(e, events.Connected)]
            assert [event.reused for event in connected] == [False, True]

    @pytest.mark.parametrize(("idle_for", "is_reused"), [(0.9, True), (1.0, False)])
    async def test_what_may_not_be_resent_rides_only_on_one_that_was_just_in_use(
        self, autojump_clock: MockClock, idle_for: float, is_reused: bool
    ) -> None:
        async with world() as w:
            await w.ask("GET", target=ONE)
            await trio.sleep(idle_for)
            assert (await w.ask("POST", target=ONE)).records[0].reused == is_reused

    async def test_one_that_was_waited_for_counts_as_used(self, autojump_clock: MockClock) -> None:
        """And so the request that it breaks off under is sent again, to the only server."""
        async with world(max_connections=1) as w:
            w.a.reply = Reply(think=1.0)
            w.a.script(Fault(Fin(), AfterRequest(), skip=1))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(w.request, "GET", "http://a.test/")
                await trio.sleep(0.5)
                outcome = await w.request("GET", "http://a.test/")
            assert outcome.verdicts == [Verdict.CLOSED, Verdict.ANSWERED]
            assert [record.reused for record in outcome.records] == [True, False]

    async def test_an_old_ones_end_is_not_held_against_the_server(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            await w.ask("GET", target=ONE)
            w.a.script(Fault(Fin(), AfterRequest()))
            await w.ask("POST", target=ONE)
            assert not w.engine.health.is_held_down(A, trio.current_time())

    async def test_a_new_ones_end_is(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Fin(), AfterRequest())) as w:
            await w.ask("POST", target=ONE)
            assert w.engine.health.is_held_down(A, trio.current_time())
            await trio.sleep(5.0)
            assert not w.engine.health.is_held_down(A, trio.current_time())

    async def test_idle_ones_to_a_server_in_trouble_are_not_lent(
        self, autojump_clock: MockClock
    ) -> None:
        """It is suspect: whether it is dead, another request has to wait for, and this one not."""
        async with world() as w:
            w.a.reply = Reply(think=0.1)
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(w.request, "GET", "http://ab.test/")
            w.network.blackhole(A)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(w.request, "PUT", "http://ab.test/")
                await trio.sleep(0.6)
                outcome = await w.request("GET", "http://ab.test/")
            assert outcome.server == "b"
            assert outcome.took == pytest.approx(0.002)


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
        attempt._note_sent()  # an upload may end in the very moment in which it is stopped
        assert attempt.sent_at == 0.0
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
