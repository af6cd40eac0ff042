"""Every await of the data path fails once, and is cancelled once, under the traffic of two clients.

Their answers bear their identity, and all of their requests share one pool. After each: a POST has run
once at the most, every request has one answer or a break that shows, none has another's, whoever had no
part in it noticed nothing, and nothing is left (tests.proxy.house looks).
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import h11
import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from tests.proxy.answers import HeardAnswer, parse_answer
from tests.proxy.house import House, house
from tests.proxy.playbook import Party
from tests.proxy.sabotage import Fails, Saboteur
from tests.proxy.test_cancellation import AtStep
from tests.sim.origin import Framing, ReceivedRequest, Reply, ranged

TWO = Target(urls=["http://a.test/", "http://b.test/"], order="shuffled", max_connections=2)

UPLOAD = bytes(range(256)) * 80
"""More than is read before a server is asked (16 KiB): it goes out from a task of its own."""

METHODS = ("GET", "POST", "PUT", "GET", "POST", "CHUNKED", "EXPECT", "GET", "PUT")
THINKS = 0.01
STUCK = 60.0


@dataclass
class Client:
    """One who asks one request after another, each in its own name, on one connection while it lasts.

    Attributes:
        answers: whole ones, by the name of the request.
        broken: names of requests that had no whole answer.
    """

    name: str
    party: Party
    again: list[Party] = field(default_factory=list)
    answers: dict[str, HeardAnswer] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    connects: int = 1

    async def run(self, h: House) -> None:
        for number, method in enumerate(METHODS):
            name = f"{self.name}{number}{method}"
            with trio.fail_after(STUCK):
                answer = await ask(self.party, method, name)
            if answer is None:
                self.broken.append(name)
            else:
                self.answers[name] = answer
            if answer is None or answer.is_last:
                self.party.leave()
                self.party = h.client(self.name)
                self.connects += 1


async def ask(party: Party, method: str, name: str) -> HeardAnswer | None:
    """The whole answer, or None where there was none; and nothing behind it."""
    heard, is_end = b"", False
    with suppress(trio.BrokenResourceError):  # an answer may have come before
        await party.stream.send_all(request(method, name))
    while True:
        try:
            answer, size = parse_answer(heard, "GET", 0.0, is_end=is_end)
        except h11.RemoteProtocolError:
            return None
        if answer is not None:
            assert size == len(heard), f"behind the answer: {heard[size:]!r}"
            return answer
        if is_end:
            return None
        try:
            data = await party.stream.receive_some()
        except trio.BrokenResourceError:
            return None
        heard, is_end = heard + data, not data


def request(method: str, name: str) -> bytes:
    head = f"Host: shop\r\nX-Request-Id: {name}\r\n"
    if method == "GET":
        return f"GET /{name} HTTP/1.1\r\n{head}\r\n".encode()
    if method == "CHUNKED":
        chunks = b"".join(b"800\r\n%b\r\n" % UPLOAD[at : at + 2048] for at in range(0, 20480, 2048))
        head += "Transfer-Encoding: chunked\r\n"
        return f"PUT /{name} HTTP/1.1\r\n{head}\r\n".encode() + chunks + b"0\r\n\r\n"
    content = UPLOAD if method in ("PUT", "EXPECT") else name.encode()
    head += f"Content-Length: {len(content)}\r\n"
    head += "Expect: 100-continue\r\n" if method == "EXPECT" else ""
    method = "PUT" if method == "EXPECT" else method
    return f"{method} /{name} HTTP/1.1\r\n{head}\r\n".encode() + content


def in_its_name(asked: ReceivedRequest) -> Reply:
    """Says who asked what, at a length that is the name's own, counted or chunked."""
    name = asked.value(b"x-request-id") or b"nobody"
    if b"GET" in name:
        return replace(ranged(content_for(name), b'"%b"' % name)(asked), think=THINKS)
    framing = Framing.CHUNKED if b"POST" in name else Framing.COUNTED
    return Reply(200, content_for(name), framing, think=THINKS)


def content_for(name: bytes) -> bytes:
    return name * (50 + sum(name))


def check(h: House, *clients: Client) -> None:
    """The promises."""
    runs: dict[str, int] = {}
    for origin in h.origins:
        for one in origin.executed:
            name = (one.value(b"x-request-id") or b"").decode()
            runs[name] = runs.get(name, 0) + 1
            if one.method == b"PUT":
                assert one.content == UPLOAD
    for client in clients:
        for name, answer in client.answers.items():
            if answer.server:
                assert answer.status == 200
                assert answer.value("X-Request-Id") == name
                assert answer.content == content_for(name.encode()), name
                assert runs[name] >= 1
            else:
                assert answer.problem["request_id"] in (name, ""), name
                assert answer.problem["may_have_been_processed"] or not runs.get(name), name
    assert not {name: count for name, count in runs.items() if "POST" in name and count > 1}
    assert max(runs.values()) <= 3


def is_well(client: Client) -> bool:
    """Nothing happened to it."""
    answered = [one.server for one in client.answers.values()]
    return len(answered) == len(METHODS) and all(answered) and client.connects == 1


def check_what_a_server_may_do(*clients: Client) -> None:
    """Whatever may be asked again was; what broke off in mid-answer went on, where it is a GET."""
    broken = [name for client in clients for name in client.broken]
    answers = [item for client in clients for item in client.answers.items()]
    refused = [name for name, answer in answers if not answer.server]
    assert not [name for name in refused if "POST" not in name]
    assert not [name for name in broken if "GET" in name]
    assert len(broken + refused) <= 1


async def traffic(h: House, *clients: Client) -> None:
    h.a.reply = h.b.reply = in_its_name
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.run, h)


@pytest.mark.parametrize("how", Fails)
async def test_each_call_fails(autojump_clock: MockClock, how: Fails) -> None:
    struck: set[str] = set()
    for k in itertools.count(1):
        async with house(target=TWO) as h:
            saboteur = Saboteur(h, k, how)
            one, two = (Client(name, saboteur.client(name)) for name in ("one", "two"))
            await traffic(h, one, two)
            check(h, one, two)
            if saboteur.struck.startswith("one"):
                assert is_well(two), (k, saboteur.struck, two)
            elif saboteur.struck.startswith("two"):
                assert is_well(one), (k, saboteur.struck, one)
            else:
                # A server's connection, name or connect: whoever may be asked again was.
                check_what_a_server_may_do(one, two)
        if not saboteur.struck:
            break
        struck.add(saboteur.struck)
    assert k > 80
    assert {what.split()[0] for what in struck} >= {"one", "two", "connect", "resolve"}


@pytest.mark.parametrize("victim", ["one", "two"])
async def test_each_step_is_cancelled(autojump_clock: MockClock, victim: str) -> None:
    """At each step of anybody's tasks the vigil's cancel comes for one of the two clients."""
    for k in itertools.count(1):
        async with house(target=TWO) as h:
            instrument = AtStep(h, k)
            one, two = (Client(name, h.client(name)) for name in ("one", "two"))
            address = f"127.0.0.1:{50001 + (victim == 'two')}"
            instrument.act = partial(cancel, h, address)
            trio.lowlevel.add_instrument(instrument)
            try:
                await traffic(h, one, two)
            finally:
                trio.lowlevel.remove_instrument(instrument)
            check(h, one, two)
            assert is_well(two if victim == "one" else one), k
        if not instrument.has_acted:
            break
    assert k > 100


def cancel(h: House, address: str) -> None:
    for inside in list(h.door.inside):
        if str(inside).startswith(f"<ClientSide {address} "):
            inside.cancel()
