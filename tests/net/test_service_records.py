"""Services as the resolver's callers see them: SRV records, and the names behind them, by script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from haclient import errors
from haclient.core.dns_answer import Answer, Record, RecordType, Reply
from haclient.core.question import Ask
from haclient.net.resolver import SystemResolver
from haclient.types import Endpoint

A, SRV = RecordType.A, RecordType.SRV
NXDOMAIN, SERVFAIL = Answer(3, negative_ttl=20), Answer(2)
SERVICE = "_orders._tcp.example"

ONE, TWO, THREE = (Endpoint(f"192.0.2.{n}", 8000 + n) for n in (1, 2, 3))


@dataclass
class World:
    folder: Path
    services: tuple[str, ...] = ("10 5 8001 a.test.", "20 0 8003 c.test.", "10 1 8002 b.test.")
    hosts: dict[str, str] = field(
        default_factory=lambda: {f"{c}.test.": f"192.0.2.{n}" for n, c in enumerate("abc", 1)}
    )
    asked: list[tuple[str, str]] = field(default_factory=list)
    is_failing: bool = False
    chance: float = 0.999

    async def exchange(self, ask: Ask) -> Reply:
        self.asked.append((ask.qname, ask.rdtype.name))
        if self.is_failing:
            return SERVFAIL
        if ask.rdtype is SRV:
            assert ask.qname == f"{SERVICE}."
            records = tuple(Record(ask.qname, SRV, each, 60) for each in self.services)
            return Answer(0, records) if records else Answer(0, negative_ttl=20)
        address = self.hosts.get(ask.qname)
        return Answer(0, (Record(ask.qname, A, address, 30),)) if address else NXDOMAIN

    def resolver(self) -> SystemResolver:
        resolv_conf = self.folder / "resolv.conf"
        resolv_conf.write_text("nameserver 10.0.0.53\noptions no-aaaa\n")
        return SystemResolver(
            hosts_path=str(self.folder / "hosts"),
            resolv_conf_path=str(resolv_conf),
            state_file=str(self.folder / "names.json"),
            exchange=self.exchange,
            chance=lambda: self.chance,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SystemResolver]:
        resolver = self.resolver()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(resolver.run)
            await trio.testing.wait_all_tasks_blocked()
            yield resolver
            nursery.cancel_scope.cancel()


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_ports_from_the_records_and_one_priority_after_another(
    clock: MockClock, world: World
) -> None:
    answer = await world.resolver().resolve(SERVICE, 0)
    assert set(answer.endpoints) == {ONE, TWO}
    assert answer.later == ((THREE,),)
    assert answer.levels == (answer.endpoints, (THREE,))
    assert (answer.host, answer.source, answer.ttl, answer.server) == (
        SERVICE, "dns", 30.0, "10.0.0.53",
    )  # fmt: skip


async def test_within_a_priority_each_call_draws_by_weight(clock: MockClock, world: World) -> None:
    resolver = world.resolver()
    assert (await resolver.resolve(SERVICE, 0)).endpoints == (TWO, ONE)
    world.chance = 0.2
    assert (await resolver.resolve(SERVICE, 0)).endpoints == (ONE, TWO)
    assert len(world.asked) == 4  # the second time all is known


async def test_a_server_whose_name_leads_nowhere_is_left_out(
    clock: MockClock, world: World
) -> None:
    del world.hosts["a.test."], world.hosts["b.test."]
    answer = await world.resolver().resolve(SERVICE, 0)
    assert (answer.endpoints, answer.later) == ((THREE,), ())


async def test_none_of_them_leads_anywhere(clock: MockClock, world: World) -> None:
    world.hosts.clear()
    with pytest.raises(errors.NameNotFoundError, match=r"cannot resolve [abc]\.test"):
        await world.resolver().resolve(SERVICE, 0)


@pytest.mark.parametrize("services", [("0 0 0 .",), ("10 0 0 a.test.",)])
async def test_decidedly_no_service(
    clock: MockClock, world: World, services: tuple[str, ...]
) -> None:
    world.services = services
    with pytest.raises(errors.NoAddressError, match="its SRV records name no server"):
        await world.resolver().resolve(SERVICE, 0)


async def test_no_records(clock: MockClock, world: World) -> None:
    world.services = ()
    with pytest.raises(errors.NoAddressError, match=r"asked 10.0.0.53 for SRV of _orders"):
        await world.resolver().resolve(SERVICE, 0)


async def test_the_hosts_file_knows_its_servers(clock: MockClock, world: World) -> None:
    (world.folder / "hosts").write_text("192.0.2.9 c.test\n")
    answer = await world.resolver().resolve(SERVICE, 0)
    assert answer.later == ((Endpoint("192.0.2.9", 8003),),)


async def test_what_is_no_name_is_refused(clock: MockClock, world: World) -> None:
    with pytest.raises(errors.ResolveError, match="nobody was asked"):
        await world.resolver().resolve("_a b._tcp.test", 0)


async def test_a_host_of_the_same_name_is_another_question(clock: MockClock, world: World) -> None:
    resolver = world.resolver()
    await resolver.resolve(SERVICE, 0)
    with pytest.raises(errors.NameNotFoundError):
        await resolver.resolve(SERVICE, 80)


class TestInTrouble:
    async def test_records_and_addresses_serve_beyond_their_time(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            before = await resolver.resolve(SERVICE, 0)
            world.is_failing = True
            await trio.sleep(600)
            answer = await resolver.resolve(SERVICE, 0)
            assert (answer.endpoints, answer.later) == (before.endpoints, before.later)
            assert answer.source == "stale"
            lines = {line.name: line for line in resolver.report(trio.current_time())}
            assert set(lines) == {f"srv+{SERVICE}", "a.test.", "b.test.", "c.test."}
            assert "10 5 8001 a.test." in lines[f"srv+{SERVICE}"].addresses

    async def test_and_over_a_restart(self, clock: MockClock, world: World) -> None:
        async with world.running() as resolver:
            await resolver.resolve(SERVICE, 0)
        world.is_failing = True
        async with world.running() as resolver:
            answer = await resolver.resolve(SERVICE, 0)
        assert set(answer.endpoints) == {ONE, TWO}

    async def test_a_record_that_names_no_host_costs_nothing_but_itself(
        self, clock: MockClock, world: World
    ) -> None:
        odd = "1 0 8009 " + ("\\255" * 60 + ".") * 4
        world.services = (odd, *world.services)
        async with world.running() as resolver:
            answer = await resolver.resolve(SERVICE, 0)
        assert set(answer.endpoints) == {ONE, TWO}

    async def test_where_no_record_names_a_host_the_lookup_says_so(
        self, clock: MockClock, world: World
    ) -> None:
        world.services = ("1 0 8009 " + ("\\255" * 60 + ".") * 4,)
        with pytest.raises(errors.ResolveError, match=r"is not a host name.*nobody was asked"):
            await world.resolver().resolve(SERVICE, 0)


class TestPeek:
    async def test_it_makes_the_service_known_step_by_step(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            for _ in range(2):
                assert resolver.peek(SERVICE, 0) is None
                await trio.testing.wait_all_tasks_blocked()
            answer = resolver.peek(SERVICE, 0)
            assert answer is not None
            assert (set(answer.endpoints), answer.later) == ({ONE, TWO}, ((THREE,),))

    async def test_servers_that_left_can_be_gone_back_to(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            await resolver.resolve(SERVICE, 0)
            world.services = ("10 5 8001 a.test.", "0 0 0 .")
            await trio.sleep(55)
            answer = resolver.peek(SERVICE, 0)
            assert answer is not None
            assert (answer.endpoints, set(answer.former)) == ((ONE,), {TWO, THREE})
            world.services = ("10 5 8001 a.test.",)
            world.hosts["a.test."] = "192.0.2.4"
            await trio.sleep(60)
            answer = resolver.peek(SERVICE, 0)
            assert answer is not None
            assert answer.endpoints == (Endpoint("192.0.2.4", 8001),)
