"""Names in trouble, as the resolver's callers see them: on the mock clock, with scripted name servers.

Silent, failing and lying name servers; answers that run out in use; addresses that come and go; the state
file's part in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from haclient import errors
from haclient.core.config import ResolverSettings
from haclient.core.dns_answer import Answer, Record, RecordType, Reply
from haclient.core.dns_cache import (
    DENIAL_DOUBTED_FOR,
    FORMER_FOR,
    MAX_ENTRIES,
    StaleBegan,
    StaleEnded,
)
from haclient.core.question import Ask
from haclient.core.saved_names import read_saved_names
from haclient.net import RemembersNames
from haclient.net.name_memory import CLIENT_RESPONSE_TIMER, ResolverEvent
from haclient.net.resolver import SystemResolver
from haclient.net.state_file import StateFileTrouble
from haclient.types import Endpoint

A = RecordType.A
SERVFAIL, REFUSED = Answer(2), Answer(5)
NXDOMAIN, NODATA = Answer(3, negative_ttl=20), Answer(0, negative_ttl=20)


def at(*addresses: str, ttl: float = 10) -> Answer:
    return Answer(0, tuple(Record("x.", A, address, ttl) for address in addresses))


GOOD = at("192.0.2.1")


@dataclass
class World:
    """One name server, one name, and a resolver that asks for A records alone."""

    folder: Path
    reply: Reply | None = GOOD
    """None is silence."""
    is_broken: bool = False
    """A mistake of ours: to ask raises."""
    delay: float = 0.0
    asked: list[float] = field(default_factory=list)
    told: list[ResolverEvent] = field(default_factory=list)

    async def exchange(self, ask: Ask) -> Reply:
        self.asked.append(trio.current_time())
        reply, delay = self.reply, self.delay
        if self.is_broken:
            raise ZeroDivisionError
        if reply is None:
            await trio.sleep_forever()
        await trio.sleep(delay)
        assert reply is not None
        return reply

    @property
    def resolv_conf(self) -> Path:
        return self.folder / "resolv.conf"

    @property
    def state_file(self) -> Path:
        return self.folder / "names.json"

    def resolver(self, **settings: object) -> SystemResolver:
        self.resolv_conf.write_text("nameserver 10.0.0.53\noptions timeout:2 attempts:2 no-aaaa\n")
        return SystemResolver(
            hosts_path=str(self.folder / "hosts"),
            resolv_conf_path=str(self.resolv_conf),
            exchange=self.exchange,
            tell=self.told.append,
            chance=lambda: 0.5,
            **settings,  # type: ignore[arg-type]
        )

    @asynccontextmanager
    async def running(self, **settings: object) -> AsyncIterator[SystemResolver]:
        resolver = self.resolver(**settings)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(resolver.run)
            await trio.testing.wait_all_tasks_blocked()
            yield resolver
            nursery.cancel_scope.cancel()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


async def told_by(resolver: SystemResolver) -> tuple[str, float, list[str]]:
    """Source of the answer, the seconds that it took, and its addresses."""
    began_at = trio.current_time()
    answer = await resolver.resolve("x", 80)
    took = round(trio.current_time() - began_at, 3)
    return answer.source, took, [endpoint.address for endpoint in answer.endpoints]


async def use(resolver: SystemResolver, seconds: int) -> list[tuple[str, float, list[str]]]:
    """One question each second."""
    answers = []
    for _ in range(seconds):
        answers.append(await told_by(resolver))
        await trio.sleep(1)
    return answers


class TestInUse:
    async def test_no_request_waits_for_a_name_server_once_the_name_is_known(
        self, clock: MockClock, world: World
    ) -> None:
        world.delay = 0.5
        async with world.running() as resolver:
            first, *others = await use(resolver, 60)
        assert first == ("dns", 0.5, ["192.0.2.1"])
        assert set(map(str, others)) == {str(("cache", 0.0, ["192.0.2.1"]))}
        # Each time at 85 % of the TTL, which counts from the answer.
        assert world.asked == [9.0 * number for number in range(7)]

    async def test_nor_where_the_answer_runs_out_while_it_is_refreshed(
        self, clock: MockClock, world: World
    ) -> None:
        world.reply = at("192.0.2.1", ttl=1)
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            world.delay = 1.5
            answers = await use(resolver, 30)
            world.delay = CLIENT_RESPONSE_TIMER + 0.1
            more = await use(resolver, 30)
        assert {(source, took) for source, took, _ in answers} == {("cache", 0.0)}
        assert resolver.stale_served == [source for source, _, _ in more].count("stale") > 0
        assert {took for _, took, _ in more} == {0.0}

    async def test_a_name_that_is_no_longer_asked_for_is_left_alone(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            await trio.sleep(3600)
            assert world.asked[-1] < 60
            count = len(world.asked)
            assert await told_by(resolver) == ("dns", 0.0, ["192.0.2.1"])
            assert len(world.asked) == count + 1

    async def test_a_name_asked_for_late_in_its_time_is_refreshed_beside_the_request(
        self, clock: MockClock, world: World
    ) -> None:
        world.reply = at("192.0.2.1", ttl=300)
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            await trio.sleep(255 + 260)  # refreshed at 255, and nobody has asked since
            assert len(world.asked) == 2
            assert (await told_by(resolver))[:2] == ("cache", 0.0)
            await trio.testing.wait_all_tasks_blocked()
            assert len(world.asked) == 3

    async def test_without_run_it_is_asked_when_the_time_is_over(
        self, clock: MockClock, world: World
    ) -> None:
        resolver = world.resolver()
        answers = await use(resolver, 21)
        assert [source for source, _, _ in answers].count("dns") == 3

    async def test_new_addresses_are_there_at_once_and_those_that_left_for_a_while(
        self, clock: MockClock, world: World
    ) -> None:
        world.reply = at("192.0.2.1", "192.0.2.2")
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            world.reply = at("192.0.2.2", "192.0.2.3")
            await trio.sleep(9)
            answer = await resolver.resolve("x", 80)
            assert answer.endpoints == (Endpoint("192.0.2.2", 80), Endpoint("192.0.2.3", 80))
            assert answer.former == (Endpoint("192.0.2.1", 80),)
            await trio.sleep(FORMER_FOR)
            assert (await resolver.resolve("x", 80)).former == ()

    async def test_an_asker_who_leaves_does_not_end_the_lookup(
        self, clock: MockClock, world: World
    ) -> None:
        world.delay = 1.0
        async with world.running() as resolver:
            with trio.move_on_after(0.1):
                await resolver.resolve("x", 80)
            assert await told_by(resolver) == ("dns", 0.9, ["192.0.2.1"])
        assert len(world.asked) == 1


async def flood(world: World, resolver: SystemResolver) -> None:
    """What a client of a forward proxy may do: more names than there is room for."""
    before, world.reply = world.reply, NXDOMAIN
    for number in range(MAX_ENTRIES + 10):
        with pytest.raises(errors.NameNotFoundError):
            await resolver.resolve(f"n{number}", 80)
    world.reply = before


class TestKept:
    async def test_it_serves_on_whatever_others_ask_for(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            resolver.keep([("10.0.0.1", 80), ("x", 80)])
            await resolver.resolve("x", 80)
            await flood(world, resolver)
            world.reply = None
            await trio.sleep(600)
            source, _, addresses = await told_by(resolver)
            assert (source, addresses) == ("stale", ["192.0.2.1"])

    async def test_it_is_the_first_to_be_saved(self, clock: MockClock, world: World) -> None:
        async with world.running(state_file=str(world.state_file)) as resolver:
            resolver.keep([("x", 80), ("_s._tcp.test", 0)])
            for host in ("first.test", "x", "last.test"):
                world.reply = Answer(0, (Record(f"{host}.", A, "192.0.2.1", 10),))
                await resolver.resolve(host, 80)
        names, _ = read_saved_names(
            world.state_file.read_bytes(), time.clock_gettime(time.CLOCK_REALTIME), 3600
        )
        assert list(names) == ["x", "first.test", "last.test"]

    async def test_what_is_no_longer_kept_gives_way(self, clock: MockClock, world: World) -> None:
        async with world.running() as resolver:
            resolver.keep([("x", 80)])
            await resolver.resolve("x", 80)
            resolver.keep([("y", 80)])
            await flood(world, resolver)
            assert "x" not in {line.name for line in resolver.report(trio.current_time())}


class TestPeek:
    async def test_it_waits_for_nothing_and_makes_the_name_known(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            assert isinstance(resolver, RemembersNames)
            assert resolver.peek("x", 80) is None
            await trio.testing.wait_all_tasks_blocked()
            answer = resolver.peek("x", 80)
            assert answer is not None
            assert answer.endpoints == (Endpoint("192.0.2.1", 80),)
            assert resolver.peek("10.0.0.1", 80) == await resolver.resolve("10.0.0.1", 80)
            assert resolver.peek("a b", 80) is None
        assert resolver.stale_served == 0

    async def test_it_keeps_the_name_in_use(self, clock: MockClock, world: World) -> None:
        async with world.running() as resolver:
            for _ in range(300):
                resolver.peek("x", 80)
                await trio.sleep(1)
            assert await told_by(resolver) == ("cache", 0.0, ["192.0.2.1"])
        assert len(world.asked) == 36

    async def test_an_old_answer_will_do(self, clock: MockClock, world: World) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            await trio.sleep(1000)
            answer = resolver.peek("x", 80)
            assert answer is not None
            await trio.testing.wait_all_tasks_blocked()
            assert await told_by(resolver) == ("cache", 0.0, ["192.0.2.1"])

    async def test_an_unknown_name_is_not_asked_for_each_time(
        self, clock: MockClock, world: World
    ) -> None:
        world.reply = SERVFAIL
        async with world.running() as resolver:
            for _ in range(60):
                assert resolver.peek("x", 80) is None
                await trio.sleep(1)
        assert len(world.asked) == 2

    async def test_a_denied_name_is_none(self, clock: MockClock, world: World) -> None:
        world.reply = NXDOMAIN
        async with world.running() as resolver:
            with pytest.raises(errors.NameNotFoundError):
                await resolver.resolve("x", 80)
            assert resolver.peek("x", 80) is None
        assert len(world.asked) == 1

    async def test_without_run_nothing_is_asked(self, clock: MockClock, world: World) -> None:
        assert world.resolver().peek("x", 80) is None
        await trio.testing.wait_all_tasks_blocked()
        assert world.asked == []


class TestTrouble:
    @pytest.mark.parametrize(
        ("reply", "error"),
        [
            pytest.param(None, "no name server answered: 10.0.0.53: no answer", id="silent"),
            pytest.param(SERVFAIL, "the name servers failed: 10.0.0.53: SERVFAIL", id="failing"),
            pytest.param(REFUSED, "the name servers refused to answer", id="refusing"),
            pytest.param(NXDOMAIN, "no such name", id="denying"),
            pytest.param(NODATA, "the name has no address", id="emptied"),
        ],
    )
    async def test_the_last_good_answer_serves_on_and_nobody_waits(
        self, clock: MockClock, world: World, reply: Reply | None, error: str
    ) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            world.reply = reply
            answers = await use(resolver, 300)
            (began,) = world.told
            assert isinstance(began, StaleBegan)
            assert began.host == "x"
            # Where a lookup takes long the old answer serves before anybody knows what comes of it.
            assert began.error.startswith(error if reply else "no answer within 1.8 s")
            (line,) = resolver.report(trio.current_time())
            assert (line.name, line.addresses, line.source) == (
                "x",
                ("192.0.2.1",),
                "dns 10.0.0.53",
            )
            assert line.is_stale
            assert line.ttl == pytest.approx(-290, abs=2)
            assert line.error.startswith(error)
            served = resolver.stale_served
            world.reply = at("192.0.2.7")
            await trio.sleep(40)
            assert await told_by(resolver) == ("cache", 0.0, ["192.0.2.7"])

        assert [took for _, took, _ in answers if took] == []
        assert {addresses[0] for _, _, addresses in answers} == {"192.0.2.1"}
        assert [source for source, _, _ in answers].count("stale") == served >= 285
        # Ever less often: nobody asks a name server that is down each second.
        assert len(world.asked) < 60
        ended = world.told[1]
        assert isinstance(ended, StaleEnded)
        assert ended.error == ""
        assert 290 <= ended.lasted <= 330
        assert len(world.told) == 2

    async def test_whoever_comes_first_after_the_time_waits_a_little_and_the_next_do_not(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            await trio.sleep(1000)
            world.reply = None
            assert await told_by(resolver) == ("stale", 1.8, ["192.0.2.1"])
            assert await told_by(resolver) == ("stale", 0.0, ["192.0.2.1"])
        assert world.told == [StaleBegan("x", "no answer within 1.8 s")]

    async def test_many_who_wait_are_one_failure(self, clock: MockClock, world: World) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            await trio.sleep(1000)
            world.reply = None
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(resolver.resolve, "x", 80)
            assert resolver.stale_served == 50
            world.reply = GOOD
            # The query that is out gets no answer; 2.2 s later the next one does.
            await trio.sleep(2.5)
            assert await told_by(resolver) == ("cache", 0.0, ["192.0.2.1"])

    async def test_a_slow_answer_is_taken_though_nobody_waited_for_it(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            await trio.sleep(1000)
            world.reply, world.delay = at("192.0.2.7"), 3.0
            assert await told_by(resolver) == ("stale", 1.8, ["192.0.2.1"])
            await trio.sleep(1.3)
            assert await told_by(resolver) == ("cache", 0.0, ["192.0.2.7"])
        assert isinstance(world.told[-1], StaleEnded)

    async def test_a_short_outage_before_the_time_is_over_is_nothing_to_tell(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            world.reply = SERVFAIL
            await trio.sleep(9)
            (line,) = resolver.report(trio.current_time())
            assert (line.is_stale, "SERVFAIL" in line.error) == (False, True)
            world.reply = GOOD
            answers = await use(resolver, 60)
        assert {source for source, _, _ in answers} == {"cache"}
        assert world.told == []

    async def test_stale_for_is_the_end(self, clock: MockClock, world: World) -> None:
        async with world.running(stale_for=100) as resolver:
            await resolver.resolve("x", 80)
            world.reply = SERVFAIL
            await use(resolver, 109)
            await trio.sleep(2)
            with pytest.raises(errors.NameServerError, match="SERVFAIL"):
                await resolver.resolve("x", 80)
            assert resolver.report(trio.current_time()) == ()
        ended = world.told[-1]
        assert isinstance(ended, StaleEnded)
        assert "SERVFAIL" in ended.error
        assert 99 <= ended.lasted <= 102

    async def test_a_denial_is_believed_in_the_end(self, clock: MockClock, world: World) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            world.reply = NXDOMAIN
            answers = await use(resolver, int(DENIAL_DOUBTED_FOR))
            assert {source for source, _, _ in answers} == {"cache", "stale"}
            await trio.sleep(60)
            with pytest.raises(errors.NameNotFoundError):
                await resolver.resolve("x", 80)
            (line,) = resolver.report(trio.current_time())
            assert (line.addresses, line.is_stale) == ((), False)
            assert line.error.startswith("no such name (asked 10.0.0.53")
        assert isinstance(world.told[-1], StaleEnded)

    async def test_a_host_of_which_nothing_is_known_is_an_error_as_ever(
        self, clock: MockClock, world: World
    ) -> None:
        world.reply = SERVFAIL
        async with world.running() as resolver:
            with pytest.raises(errors.NameServerError):
                await resolver.resolve("x", 80)
            world.reply = NXDOMAIN
            with pytest.raises(errors.NameNotFoundError):
                await resolver.resolve("x", 80)
        assert world.told == []

    async def test_a_fault_of_ours_reaches_who_waits_and_is_a_failure_for_the_others(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            world.is_broken = True
            with pytest.raises(ExceptionGroup) as caught:
                await resolver.resolve("x", 80)
            assert caught.group_contains(ZeroDivisionError)
            world.is_broken = False
            await resolver.resolve("x", 80)
            world.is_broken = True
            await trio.sleep(11)
            assert (await told_by(resolver))[:2] == ("stale", 0.0)
            await trio.testing.wait_all_tasks_blocked()
        (began,) = world.told
        assert isinstance(began, StaleBegan)
        assert "ZeroDivisionError" in began.error


class TestTroubleWithoutRun:
    async def test_one_asker_at_a_time_tries_and_the_others_have_the_old_answer(
        self, clock: MockClock, world: World
    ) -> None:
        resolver = world.resolver()
        await resolver.resolve("x", 80)
        world.reply = None
        await trio.sleep(10)
        answers = await use(resolver, 60)
        assert [answer for answer in answers if answer[0] != "stale"] == []
        waits = [took for _, took, _ in answers if took]
        assert waits == [1.8] * len(waits)
        assert 4 <= len(waits) <= 7  # 1, 2, 4, 8, 16 and 30 s apart

    async def test_an_answer_ends_it(self, clock: MockClock, world: World) -> None:
        resolver = world.resolver()
        await resolver.resolve("x", 80)
        world.reply = SERVFAIL
        await trio.sleep(10)
        assert (await told_by(resolver))[:2] == ("stale", 0.0)
        world.reply = GOOD
        await trio.sleep(1)
        assert (await told_by(resolver))[:2] == ("dns", 0.0)
        assert [type(event) for event in world.told] == [StaleBegan, StaleEnded]


class TestOtherNameServers:
    async def test_nothing_is_believed_unasked_and_an_old_answer_is_better_than_none(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            world.reply = None
            world.resolv_conf.write_text("nameserver 10.7.7.7\noptions no-aaaa\n")
            await trio.sleep(1)
            assert await told_by(resolver) == ("stale", 1.8, ["192.0.2.1"])

    async def test_their_denial_is_believed(self, clock: MockClock, world: World) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            world.reply = NXDOMAIN
            world.resolv_conf.write_text("nameserver 10.7.7.7\noptions no-aaaa\n")
            await trio.sleep(1)
            with pytest.raises(errors.NameNotFoundError):
                await resolver.resolve("x", 80)

    async def test_settings_that_change_leave_what_is_known(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running() as resolver:
            await resolver.resolve("x", 80)
            resolver.apply(ResolverSettings(max_ttl=60.0))
            assert (await told_by(resolver))[0] == "cache"
            resolver.apply(ResolverSettings(nameservers=("127.0.0.1:5353",)))
            answer = await resolver.resolve("x", 80)
            assert (answer.source, answer.server) == ("dns", "127.0.0.1:5353")
            assert resolver.configuration().max_ttl == 300.0
            world.reply = SERVFAIL
            resolver.apply(ResolverSettings(stale_for=0))
            with pytest.raises(errors.NameServerError):
                await resolver.resolve("x", 80)


class TestStateFile:
    async def test_a_start_without_name_servers_uses_it(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running(state_file=str(world.state_file)) as resolver:
            await resolver.resolve("x", 80)
        assert world.state_file.exists()  # written at the end
        world.reply = None
        async with world.running(state_file=str(world.state_file)) as resolver:
            assert await told_by(resolver) == ("stale", 1.8, ["192.0.2.1"])
            assert await told_by(resolver) == ("stale", 0.0, ["192.0.2.1"])
            (line,) = resolver.report(trio.current_time())
            assert (line.source, line.is_stale) == ("state file", True)
        # What nobody could confirm is as old as it was.
        before = world.state_file.read_bytes()
        async with world.running(state_file=str(world.state_file)) as resolver:
            await resolver.resolve("x", 80)
        assert world.state_file.read_bytes() == before

    async def test_name_servers_that_answer_go_before_it(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running(state_file=str(world.state_file)) as resolver:
            await resolver.resolve("x", 80)
        world.reply = at("192.0.2.7")
        async with world.running(state_file=str(world.state_file)) as resolver:
            assert await told_by(resolver) == ("dns", 0.0, ["192.0.2.7"])

    async def test_it_is_written_when_something_is_new(
        self, clock: MockClock, world: World
    ) -> None:
        async with world.running(state_file=str(world.state_file)) as resolver:
            await resolver.resolve("x", 80)
            await trio.sleep(1.5)
            # In a thread, which the mock clock does not wait for.
            for _ in range(500):
                await trio.to_thread.run_sync(threading.Event().wait, 0.01)
                if world.state_file.exists():
                    break
            assert b"192.0.2.1" in world.state_file.read_bytes()

    async def test_another_file_after_a_reload(
        self, clock: MockClock, world: World, tmp_path: Path
    ) -> None:
        other = tmp_path / "other.json"
        async with world.running(state_file=str(world.state_file)) as resolver:
            await resolver.resolve("x", 80)
            resolver.apply(ResolverSettings(state_file=str(other)))
            assert b"192.0.2.1" in world.state_file.read_bytes()
            world.reply = at("192.0.2.7")
            await trio.sleep(9)
            resolver.apply(ResolverSettings())
            assert b"192.0.2.7" in other.read_bytes()
            resolver.apply(ResolverSettings(state_file=str(other)))
        assert b"192.0.2.7" not in world.state_file.read_bytes()

    async def test_what_is_wrong_with_it_is_told(self, clock: MockClock, world: World) -> None:
        world.state_file.write_text("garbage")
        async with world.running(state_file=str(world.state_file)) as resolver:
            assert (await told_by(resolver))[0] == "dns"
        (event,) = world.told
        assert isinstance(event, StateFileTrouble)
        assert event.path == str(world.state_file)
