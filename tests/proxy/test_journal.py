"""Whole stories in one ordered log: the network, the name server, the servers and the sidecar, with instants."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from tests.proxy.house import house
from tests.sim.effects import AfterContentBytes, AfterRequest, Blackhole, Fault, Kill, OnConnect
from tests.sim.origin import Reply, ranged

ALL = ("network", "dns", "a", "b", "sidecar")


async def test_a_server_dies_thinking_and_comes_back(autojump_clock: MockClock) -> None:
    async with house() as h:
        await h.ask(200, 0.0)
        h.a.script(Fault(Blackhole(30.0), AfterRequest()))
        await trio.sleep_until(10.0)
        await h.ask(200, 1.102)
        await h.ask(200, 0.001)
        h.journal.expect(
            """
             0.000  dns: ab.test is 10.0.0.1, 10.0.0.2
             0.000  network: 10.0.0.1:80 connected, 1
             0.000  a: 1: GET /x
             0.000  a: 1: answered 200
             0.000  sidecar: GET /x 200 answered [10.0.0.1:80 answered]
            10.000  a: 1: GET /x
            10.000  a: 1: suffers Blackhole(30.0) AfterRequest
            10.000  network: 10.0.0.1:80 blackholed for 30 s
            10.000  a: 1: answered 200
            11.100  dns: ab.test is 10.0.0.1, 10.0.0.2
            11.101  network: 10.0.0.2:80 connected, 2
            11.101  b: 2: GET /x
            11.101  b: 2: answered 200
            11.102  sidecar: GET /x 200 answered [10.0.0.1:80 superseded, 10.0.0.2:80 answered]
            11.103  b: 2: GET /x
            11.103  b: 2: answered 200
            11.103  sidecar: GET /x 200 answered [10.0.0.2:80 answered]
            """,
            *ALL,
        )


async def test_a_post_on_a_server_that_is_killed(autojump_clock: MockClock) -> None:
    async with house(Fault(Kill(), AfterRequest())) as h:
        h.a.reply = Reply(think=1.0)
        await h.ask(502, 0.0, "POST", content=b"x")
        await h.ask(200, 0.002, "POST", content=b"y")
        h.journal.expect(
            """
            0.000  dns: ab.test is 10.0.0.1, 10.0.0.2
            0.000  network: 10.0.0.1:80 connected, 1
            0.000  a: 1: POST /x
            0.000  a: 1: suffers Kill AfterRequest
            0.000  network: 10.0.0.1:80 killed
            0.000  sidecar: POST /x 502 own [10.0.0.1:80 closed] connection_terminated
            0.000  dns: ab.test is 10.0.0.1, 10.0.0.2
            0.001  network: 10.0.0.2:80 connected, 2
            0.002  b: 2: POST /x
            0.002  b: 2: answered 200
            0.002  sidecar: POST /x 200 answered [10.0.0.2:80 answered]
            """,
            *ALL,
        )


async def test_a_put_waits_for_proof_and_takes_the_backup(autojump_clock: MockClock) -> None:
    target = Target(urls=["http://a.test/"], backups=["http://b.test/"])
    async with house(Fault(Blackhole(), OnConnect()), target=target) as h:
        await h.ask(200, 1.052, "PUT", content=b"x")
        h.journal.expect(
            """
            0.000  dns: a.test is 10.0.0.1
            0.000  network: 10.0.0.1:80 connected, 1
            0.000  a: 1: suffers Blackhole OnConnect
            0.000  network: 10.0.0.1:80 blackholed
            1.050  dns: a.test is 10.0.0.1
            1.050  dns: b.test is 10.0.0.2
            1.051  network: 10.0.0.2:80 connected, 2
            1.051  b: 2: PUT /x
            1.051  b: 2: answered 200
            1.052  sidecar: PUT /x 200 answered [10.0.0.1:80 dead, 10.0.0.2:80 answered]
            """,
            *ALL,
        )


async def test_an_answer_goes_on_from_another_server(autojump_clock: MockClock) -> None:
    content = b"0123456789" * 1000
    async with house(Fault(Kill(), AfterContentBytes(4000))) as h:
        h.a.reply = h.b.reply = ranged(content, b'"v1"')
        answer = await h.ask(200, 0.002)
        assert answer.content == content
        h.journal.expect(
            """
            0.000  dns: ab.test is 10.0.0.1, 10.0.0.2
            0.000  network: 10.0.0.1:80 connected, 1
            0.000  a: 1: GET /x
            0.000  a: 1: suffers Kill AfterContentBytes(4000)
            0.000  network: 10.0.0.1:80 killed
            0.000  dns: ab.test is 10.0.0.1, 10.0.0.2
            0.001  network: 10.0.0.2:80 connected, 2
            0.002  b: 2: GET /x
            0.002  b: 2: answered 206
            0.002  sidecar: GET /x 200 answered [10.0.0.1:80 closed, 10.0.0.2:80 answered]
            """,
            *ALL,
        )
