"""What loopback cannot show: cables pulled, packets lost one way, routers that say no, reboots.

Each scenario has a world of its own (tests.support.netns): a client, two or three servers, a network
stack for each, and a fault in between. One test after another would take most of a minute, and
nearly all of it is waiting. So the first test that needs an outcome builds the worlds of all that
were selected, and lets them run at once, when every process has started and the machine is quiet;
each test then has its own scenario's outcome, or its failure. Times are bounded so that they hold
on a busy machine; what was measured is printed (`pytest -rP`).

Needs root, for the namespaces. Where they are not to be had the tests are skipped and say why;
in CI (CI=true) that is a failure, for nobody would notice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.netns import (
    NAME,
    PORT,
    Client,
    Reply,
    Server,
    World,
    remove_leftovers,
    why_not,
    world,
)
from tests.support.origin import Behaviour

pytestmark = pytest.mark.netns

Run = Callable[[World], Awaitable[str]]
"""Returns what was measured, for a person."""

PATIENCE = 40.0
"""Seconds, for a whole scenario."""

BUILT_AT_ONCE = 4
"""Worlds. Each starts three or four Python processes."""

APART = 0.05
"""Seconds between the starts of two scenarios, so that they do not wait for the processor: one that
cannot connect for 250 ms is off to the next address."""

LONG = Behaviour(think=60.0)
"""Of a server that will not answer within any scenario."""


@dataclass(frozen=True)
class Scenario:
    run: Run
    world: dict[str, Any] = field(default_factory=dict)


SCENARIOS: dict[str, Scenario] = {}


def scenario(sentence: str, **how: Any) -> Callable[[Run], Run]:
    """Registers a scenario; `how` is for `world`."""

    def register(run: Run) -> Run:
        SCENARIOS[sentence] = Scenario(run, how)
        return run

    return register


# --- What they have in common ------------------------------------------------------------------


async def answered(client: Client, by: str, least: float, most: float) -> Reply:
    """The next reply: from `by`, so long after the request."""
    reply = await client.reply()
    assert (reply.error, reply.status, reply.by) == ("", 200, by)
    assert least <= reply.took <= most
    return reply


def evidence_of(client: Client, event: str) -> tuple[str, int]:
    """Kind and count of the evidence that came with an event, which came once."""
    (line,) = client.all(event)
    return line["evidence"]["kind"], line["evidence"]["count"]


def end_of_first(client: Client) -> tuple[str, str, str]:
    """Address, verdict and kind of evidence of the attempt that ended first."""
    line = client.all("attempt_ended")[0]
    return line["address"], line["verdict"], line["evidence"]["kind"]


def verdicts(client: Client) -> list[tuple[str, str]]:
    """Address and verdict of each attempt that ended, in the order in which they did."""
    return [(line["address"], line["verdict"]) for line in client.all("attempt_ended")]


def at(server: Server) -> str:
    return f"[{server.address}]:{PORT}" if ":" in server.address else f"{server.address}:{PORT}"


async def ask_of_a_thinker(world: World, method: str = "GET") -> None:
    """A request that the first server has acknowledged and will think about for long."""
    await world.servers[0].origin.set(LONG)
    await world.client.ask(method)
    await world.servers[0].executes()


async def warm_up(world: World, requests: int = 1) -> None:
    """Leaves so many idle connections; where it is one, to the first server."""
    if requests > 1:
        await world.servers[0].origin.set(Behaviour(think=0.5))  # so that none serves twice
    await world.client.ask(times=requests)
    replies = [await world.client.reply() for _ in range(requests)]
    assert {reply.status for reply in replies} == {200}
    assert replies[0].by == "a" or requests > 1
    await trio.sleep(0.1)  # for acknowledgements that are late
    world.client.forget()


# --- While the server thinks -------------------------------------------------------------------

Fault = Callable[[Server], Awaitable[float]]


async def lost_while_thinking(world: World, fault: Fault) -> str:
    """All was acknowledged; then the server is gone. Only a probe of our own can tell."""
    first, second = world.servers
    await ask_of_a_thinker(world)
    fault_at = await fault(first)
    reply = await answered(world.client, "b", 0.9, 2.5)
    assert evidence_of(world.client, "suspected") == ("keepalive_probes", 1)
    assert verdicts(world.client) == [(at(first), "superseded"), (at(second), "answered")]
    assert await second.origin.executed() == 1
    return f"{reply.took:.2f} s after the request, {reply.at - fault_at:.2f} s after the fault"


THINKING: dict[str, tuple[Fault, bool]] = {
    "lost both ways while its server thinks, a GET is answered by the other": (
        Server.drop,
        False,
    ),
    "lost both ways while its server thinks, over IPv6": (Server.drop, True),
    "half-open: only what the thinking server sends is lost": (
        partial(Server.drop, to_server=False),
        False,
    ),
    "half-open: only what the client sends to the thinking server is lost": (
        partial(Server.drop, to_client=False),
        False,
    ),
    "the link goes down at the thinking server": (Server.unplug, False),
    "the link to the thinking server goes down at the client, and the route with it": (
        partial(Server.unplug, at_client=True),
        False,
    ),
}

for sentence, (fault, is_ipv6) in THINKING.items():
    run = partial(lost_while_thinking, fault=fault)
    SCENARIOS[sentence] = Scenario(run, {"is_ipv6": is_ipv6})


@scenario("the command does as the library does, with the evidence in its trace")
async def _(world: World) -> str:
    first, second = world.servers
    await first.origin.set(LONG)
    words = f"--resolve {NAME}:{PORT}:{first.address},{second.address} --order listed"
    words += f" -s -w %{{time_total}} --trace-json /dev/stderr http://{NAME}:{PORT}/orders/7"
    command = [sys.executable, "-m", "haclient.ops.main", "request", *words.split()]
    ran: list[subprocess.CompletedProcess[bytes]] = []

    async def run() -> None:
        process = await trio.run_process(
            world.client.entering(*command),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=Path(__file__).parents[2],
            env={"PATH": os.environ["PATH"]},
        )
        assert process.returncode == 0, process.stderr.decode()
        ran.append(process)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await first.executes()
        await first.drop()
    content, _, took = ran[0].stdout.decode().partition("\n")
    assert content == "b: GET /orders/7"
    assert 0.9 <= float(took) <= 2.5
    trace = [json.loads(line) for line in ran[0].stderr.splitlines()]
    (suspected,) = [line for line in trace if line["event"] == "suspected"]
    assert (suspected["address"], suspected["evidence"]["kind"]) == (at(first), "keepalive_probes")
    return f"{float(took):.2f} s after the request"


@scenario("a server rebooted while it thinks resets the connection when it is next probed")
async def _(world: World) -> str:
    first = world.servers[0]
    await ask_of_a_thinker(world)
    back_at = await first.reboot()
    reply = await answered(world.client, "b", 0.9, 2.5)
    assert world.client.all("suspected") == []
    assert end_of_first(world.client) == (at(first), "closed", "reset")
    return f"{reply.took:.2f} s after the request, {reply.at - back_at:.2f} s after it was back"


@scenario("a PUT is resent once its server is proved dead, by three probes")
async def _(world: World) -> str:
    first, second = world.servers
    await ask_of_a_thinker(world, "PUT")
    fault_at = await first.drop()
    reply = await answered(world.client, "b", 2.3, 4.0)
    assert evidence_of(world.client, "declared_dead") == ("keepalive_probes", 3)
    assert verdicts(world.client) == [(at(first), "dead"), (at(second), "answered")]
    return f"{reply.took:.2f} s after the request, {reply.at - fault_at:.2f} s after the fault"


@scenario("a POST is sent to nobody else, and its error says that it may have been processed")
async def _(world: World) -> str:
    first, second = world.servers
    await ask_of_a_thinker(world, "POST")
    fault_at = await first.drop()
    reply = await world.client.reply()
    assert (reply.error, reply.may_have_been_processed) == ("ServerDiedError", True)
    assert 2.3 <= reply.took <= 4.0
    assert await second.origin.log() == []
    return f"{reply.took:.2f} s after the request, {reply.at - fault_at:.2f} s after the fault"


# --- Before the request is acknowledged ----------------------------------------------------------


@scenario("lost before it is acknowledged, on a warm connection, a GET is answered by the other")
async def _(world: World) -> str:
    first, second = world.servers
    await warm_up(world)
    await first.drop()
    await world.client.ask()
    reply = await answered(world.client, "b", 0.3, 1.8)
    assert evidence_of(world.client, "suspected")[0] == "retransmits"
    assert verdicts(world.client) == [(at(first), "superseded"), (at(second), "answered")]
    assert await first.origin.executed() == 1  # the one that warmed up
    return f"{reply.took:.3f} s after the request"


async def unreachable_in_flight(world: World) -> str:
    """IP_RECVERR: what else would be a hint for the end of many retransmissions is an error."""
    first = world.servers[0]
    await warm_up(world)
    await first.reject()
    await world.client.ask()
    reply = await answered(world.client, "b", 0.0, 1.0)
    assert end_of_first(world.client) == (at(first), "dead", "unreachable")
    return f"{reply.took:.3f} s after the request"


async def unreachable_at_connect(world: World) -> str:
    first, _ = world.servers
    await first.reject()
    await world.client.ask()
    reply = await answered(world.client, "b", 0.0, 0.5)
    failure = world.client.all("connection_attempt_ended")[0]
    assert (failure["address"], failure["failure"]) == (at(first), "unreachable")
    return f"{reply.took:.3f} s after the request"


for version, is_ipv6 in {"": False, ", over IPv6": True}.items():
    how = {"is_ipv6": is_ipv6}
    SCENARIOS[f"host unreachable at connect: the next address at once{version}"] = Scenario(
        unreachable_at_connect, how
    )
    SCENARIOS[f"host unreachable with data in flight: an error at once{version}"] = Scenario(
        unreachable_in_flight, how
    )


@scenario("every SYN to one of three addresses is lost: no added time", servers=3, order="fastest")
async def _(world: World) -> str:
    await world.servers[0].drop()
    await world.client.ask()
    reply = await world.client.reply()
    assert reply.status == 200
    assert reply.by in {"b", "c"}
    assert reply.took < 0.3
    return f"{reply.took:.3f} s after the request"


# --- Alive ---------------------------------------------------------------------------------------


@scenario("alive and slow for 6 s: waited for, with a probe each second from the first one on")
async def _(world: World) -> str:
    client, (first, second) = world.client, world.servers
    await warm_up(world)
    await first.origin.set(Behaviour(think=6.0))
    await client.ask()
    await first.executes(2)
    sent_at = client.all("request_sent")[0]["t"]
    acknowledged = await client.packets()
    await trio.sleep(sent_at + 0.9 - time.perf_counter())
    unprobed = await client.packets()
    read_at = time.perf_counter()
    await trio.sleep(sent_at + 5.5 - time.perf_counter())
    probed = await client.packets()
    reply = await answered(client, "a", 6.0, 8.0)
    if read_at < sent_at + 1.0:
        assert unprobed == acknowledged
    # Told by packets, not by events: where the client is kept from running, the kernel, once asked,
    # probes by itself, and there is nothing left to ask for.
    probes, answers = (after - before for before, after in zip(acknowledged, probed, strict=True))
    assert 4 <= probes == answers <= 6
    assert client.all("probed") != []
    assert client.all("suspected") == []
    assert await second.origin.log() == []
    return f"{reply.took:.2f} s after the request, {probes} probes"


@scenario("an idle connection costs no packet, not even one that was probed a moment ago")
async def _(world: World) -> str:
    client, first = world.client, world.servers[0]
    await first.origin.set(Behaviour(think=1.5))
    await client.ask()
    await answered(client, "a", 1.5, 3.0)
    assert client.all("probed") != []
    await trio.sleep(0.3)  # for acknowledgements that are late
    before = await client.packets()
    await trio.sleep(3.0)
    assert await client.packets() == before
    await first.origin.set(Behaviour())
    await client.ask()
    await answered(client, "a", 0.0, 1.0)
    assert client.all("connected")[-1]["reused"]  # so it was there all the time
    return "0 packets in 3 s"


@scenario("one packet in twenty is lost each way: of 30 slow requests none is, and nobody is dead")
async def _(world: World) -> str:
    client, (first, _) = world.client, world.servers
    requests = 30
    await warm_up(world, requests)
    await first.origin.set(Behaviour(think=3.0))
    await first.lose(5)
    await client.ask(times=requests)
    replies = [await client.reply() for _ in range(requests)]
    assert [reply.status for reply in replies] == [200] * requests
    assert client.all("declared_dead") == []
    # One request in ten, or so, loses its first probe or the answer to it, and is then hedged.
    waited_for = [reply for reply in replies if reply.by == "a"]
    assert len(waited_for) > requests / 2
    assert min(reply.took for reply in waited_for) >= 3.0
    assert max(reply.took for reply in replies) < 6.0
    lost, hedged = await first.lost_packets(), requests - len(waited_for)
    assert lost > 0
    longest = max(reply.took for reply in replies)
    return f"{longest:.2f} s the longest, {hedged} of {requests} hedged, {lost} packets lost"


async def cut_off_until_suspected(world: World) -> float:
    """Cuts the first server off until 0.3 s after suspicion; how long suspicion lasted."""
    client, first = world.client, world.servers[0]
    await first.drop()
    suspected = await client.seen("suspected")
    await trio.sleep(0.3)
    await first.heal()
    cleared = await client.seen("cleared")
    return float(cleared["t"] - suspected["t"])


@scenario("healed 0.3 s after suspicion: the suspect is cleared, and answers first")
async def _(world: World) -> str:
    client, (first, second) = world.client, world.servers
    await first.origin.set(Behaviour(think=3.5))
    await second.origin.set(LONG)
    await client.ask()
    await first.executes()
    suspect_for = await cut_off_until_suspected(world)
    reply = await answered(client, "a", 3.5, 5.0)
    assert verdicts(client) == [(at(second), "superseded"), (at(first), "answered")]
    assert client.all("declared_dead") == []
    return f"{reply.took:.2f} s after the request, {suspect_for:.2f} s under suspicion"


@scenario("healed 0.3 s after suspicion: the suspect is cleared, and the second answers first")
async def _(world: World) -> str:
    client, (first, second) = world.client, world.servers
    await second.origin.set(Behaviour(think=2.0))
    await ask_of_a_thinker(world)
    suspect_for = await cut_off_until_suspected(world)
    reply = await answered(client, "b", 2.9, 4.5)
    assert verdicts(client) == [(at(first), "superseded"), (at(second), "answered")]
    assert client.all("declared_dead") == []
    return f"{reply.took:.2f} s after the request, {suspect_for:.2f} s under suspicion"


# --- All at once, and one by one -----------------------------------------------------------------

Outcome = str | Exception


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """What came of the scenarios that have been run, after a look at whether they can be."""
    reason = trio.run(why_not)
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"in CI these have to run: {reason}")
    if reason:
        pytest.skip(reason)
    trio.run(remove_leftovers)
    return {}


@pytest.mark.parametrize("sentence", SCENARIOS)
def test_network(
    sentence: str, outcomes: dict[str, Outcome], request: pytest.FixtureRequest
) -> None:
    if sentence not in outcomes:
        outcomes |= run_now(to_run_with(sentence, request.session))
    outcome = outcomes[sentence]
    if isinstance(outcome, Exception):
        raise outcome
    print(outcome)


def to_run_with(sentence: str, session: pytest.Session) -> list[str]:
    """Every scenario that was selected; with pytest-xdist others may run them elsewhere."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return [sentence]
    calls: list[Any] = [
        item.callspec
        for item in session.items
        if isinstance(item, pytest.Function) and item.originalname == test_network.__name__
    ]
    return [call.params["sentence"] for call in calls]


def run_now(sentences: list[str]) -> dict[str, Outcome]:
    """Runs these; Ctrl-C ends the session, as in any other test."""
    try:
        return trio.run(run_all, sentences)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt):
            raise KeyboardInterrupt from group
        raise


async def run_all(sentences: list[str]) -> dict[str, Outcome]:
    """Builds a world for each scenario, and once all stand, lets them run side by side."""
    found: dict[str, Outcome] = {}
    to_build, all_built = set(sentences), trio.Event()
    room = trio.CapacityLimiter(BUILT_AT_ONCE)

    def tick_off(sentence: str) -> None:
        to_build.discard(sentence)
        if not to_build:
            all_built.set()

    async def run_one(turn: int, sentence: str) -> None:
        scenario = SCENARIOS[sentence]
        async with AsyncExitStack() as stack:
            try:
                async with room:
                    its = await stack.enter_async_context(world(**scenario.world))
                tick_off(sentence)
                await all_built.wait()
                await trio.sleep(turn * APART)
                with trio.fail_after(PATIENCE):
                    found[sentence] = await scenario.run(its)
            except Exception as failure:
                found[sentence] = failure
            finally:
                tick_off(sentence)

    async with trio.open_nursery() as nursery:
        for turn, sentence in enumerate(sentences):
            nursery.start_soon(run_one, turn, sentence)
    return found
