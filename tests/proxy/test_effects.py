"""Every effect at every step of an exchange, through the sidecar; and the promises for all of them.

No case says what it expects. Whatever is done to a server, its client gets exactly one answer that is
whole, or sees a transfer that broke off; a request that may not be resent runs once at the most; an
answer is that of its request; an error of ours is honest; and nothing is left behind (tests.proxy.house
looks after each).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import h11
import pytest
import trio
from trio.testing import MockClock

from haclient.proxy.record import Outcome
from tests.proxy.answers import HeardAnswer, parse_answer
from tests.proxy.house import BOTH, ONE, House, house
from tests.proxy.playbook import Party, wire
from tests.sim.effects import AfterContentBytes, Fault, Garbage, SlowDrip, Stall, every_fault
from tests.sim.origin import Framing, Reply

LONGEST = 8.0
"""Seconds: the window, what a resend takes, and a client's linger."""

CONTENT = bytes(range(256)) * 120
"""Too long to be read before a server is asked (30720 bytes)."""

CHUNKS = b"".join(b"%x\r\n%b\r\n" % (1024, CONTENT[at : at + 1024]) for at in range(0, 30720, 1024))

REQUESTS = {
    "GET": wire("GET /x HTTP/1.1|Host: shop|X-Request-Id: 7||"),
    "GET in HTTP/1.0": wire("GET /x HTTP/1.0|X-Request-Id: 7||"),
    "POST": wire("POST /x HTTP/1.1|Host: shop|X-Request-Id: 7|Content-Length: 3||abc"),
    "POST with a key": wire(
        "POST /x HTTP/1.1|Host: shop|X-Request-Id: 7|Idempotency-Key: 1|Content-Length: 3||abc"
    ),
    "PUT, long": wire("PUT /x HTTP/1.1|Host: shop|X-Request-Id: 7|Content-Length: 30720||")
    + CONTENT,
    "POST, in chunks": wire(
        "POST /x HTTP/1.1|Host: shop|X-Request-Id: 7|Transfer-Encoding: chunked||"
    )
    + CHUNKS
    + b"0\r\n\r\n",
}

ANSWER = Reply(content=b"0123456789" * 10)


@dataclass(frozen=True)
class Case:
    fault: Fault
    kind: str
    is_alone: bool
    framing: Framing

    def __str__(self) -> str:
        return f"{self.kind} to {1 if self.is_alone else 2}, {self.framing.value}: {self.fault}"

    @property
    def method(self) -> str:
        return self.kind.split()[0].rstrip(",")

    @property
    def is_repeatable(self) -> bool:
        return self.method != "POST" or "key" in self.kind


def is_garbage_in_content(fault: Fault) -> bool:
    return isinstance(fault.effect, Garbage) and isinstance(fault.at, AfterContentBytes)


CASES = [
    Case(fault, kind, is_alone, framing)
    for (kind, framing), is_alone, fault in itertools.product(
        zip(REQUESTS, itertools.cycle((Framing.COUNTED, Framing.CHUNKED)), strict=False),
        (True, False),
        every_fault(bytes_per_second=200.0),
    )
    # Garbage in counted content is content, for all that anybody can know.
    if not (framing is Framing.COUNTED and is_garbage_in_content(fault))
]


async def heard_to_the_end(client: Party, method: str) -> tuple[HeardAnswer | None, str]:
    """The whole answer, if there is one; and how the connection ended, if it did."""
    data, end = b"", ""
    while True:
        at = trio.current_time()
        try:
            answer, size = parse_answer(data, method, at, is_end=end == "end")
        except h11.RemoteProtocolError:
            assert end == "end", f"not HTTP: {data!r}"
            return None, end
        if answer is not None:
            assert size == len(data), f"more than one answer: {data!r}"
            return answer, end
        if end:
            return None, end
        try:
            piece = await client.stream.receive_some()
        except trio.BrokenResourceError:
            end = "reset"
            continue
        data += piece
        if not piece:
            end = "end"


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_an_effect_in_the_exchange(autojump_clock: MockClock, case: Case) -> None:
    async with house(case.fault, target=ONE if case.is_alone else BOTH) as h:
        for origin in h.origins:
            origin.reply = Reply(content=ANSWER.content, framing=case.framing)
        client = h.client()
        await client.stream.send_all(REQUESTS[case.kind])
        answer, end = await heard_to_the_end(client, case.method)
        took = trio.current_time()
        if not isinstance(case.fault.effect, Stall | SlowDrip):
            assert took <= LONGEST
        await h.settle()
        check(case, h, answer, end)
        await the_next_one_is_served(case, h, client, answer)


def check(case: Case, h: House, answer: HeardAnswer | None, end: str) -> None:
    """The promises."""
    runs = [one.name for one in h.origins for r in one.executed if r.value(b"x-request-id") == b"7"]
    if not case.is_repeatable:
        assert len(runs) <= 1
        assert len([one for one in h.records[0].attempts if one.bytes_sent]) <= 1
    [record] = h.records
    if answer is None:
        assert end
        assert record.outcome is Outcome.BROKEN_OFF
        assert record.error
        return
    assert record.status == answer.status
    if answer.server:
        assert record.outcome is Outcome.ANSWERED
        assert answer.server in runs
        assert answer.value("X-Request-Id") == "7"
        assert answer.content == ANSWER.content
        assert bool(answer.proxy_status) == (len(record.attempts) > 1)
        return
    assert record.outcome is Outcome.OWN
    assert answer.status in (502, 503, 504)
    assert answer.proxy_status.startswith(f"haclient; error={record.error}")
    told = answer.problem
    assert len(told["attempts"]) == len(record.attempts)
    if not told["may_have_been_processed"]:
        assert runs == []


async def the_next_one_is_served(
    case: Case, h: House, client: Party, answer: HeardAnswer | None
) -> None:
    """On the same connection, where it goes on."""
    if answer is None or answer.is_last or "1.0" in case.kind:
        client = h.client("the next")
    h.network.heal(h.a.endpoint)
    await trio.sleep(1.0)
    await client.stream.send_all(wire("GET /next HTTP/1.1|Host: shop|X-Request-Id: 8||"))
    answer, _ = await heard_to_the_end(client, "GET")
    assert answer is not None
    assert answer.status == 200
    assert answer.value("X-Request-Id") == "8"
