"""The resolver as its callers see it, on the mock clock, with a scripted exchange for the network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from haclient import errors
from haclient.core.dns_answer import Answer, Fault, NoAnswer, Record, RecordType, Reply
from haclient.core.question import Ask, Transport
from haclient.net import Resolution
from haclient.net.resolver import ResolverConfiguration, SystemResolver
from haclient.types import Endpoint, Phase

A, AAAA = RecordType.A, RecordType.AAAA

NXDOMAIN = Answer(3, negative_ttl=20)
NODATA = Answer(0, negative_ttl=20)


@dataclass
class Network:
    """Name servers by script: what each says to a query, and after how many seconds."""

    script: dict[str, tuple[float, Reply] | None] = field(default_factory=dict)
    """By the server's address; None is silence. "*" for all others."""
    asked: list[tuple[float, Ask]] = field(default_factory=list)

    async def exchange(self, ask: Ask) -> Reply:
        self.asked.append((trio.current_time(), ask))
        said = self.script.get(ask.server.address, self.script.get("*"))
        if said is None:
            await trio.sleep_forever()
            raise AssertionError
        delay, reply = said
        await trio.sleep(delay)
        return reply

    @property
    def names(self) -> list[str]:
        return [ask.qname for _, ask in self.asked if ask.rdtype is A]


def both(name: str, ttl: float = 60) -> Answer:
    return Answer(0, (Record(name, A, "192.0.2.1", ttl), Record(name, AAAA, "2001:db8::1", ttl)))


@dataclass
class World:
    network: Network
    hosts: Path
    resolv_conf: Path

    def resolver(
        self,
        nameservers: list[str] | None = None,
        max_ttl: float = 300.0,
        stale_for: float = 3600.0,
    ) -> SystemResolver:
        return SystemResolver(
            hosts_path=str(self.hosts),
            resolv_conf_path=str(self.resolv_conf),
            nameservers=nameservers,
            max_ttl=max_ttl,
            stale_for=stale_for,
            exchange=self.network.exchange,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    hosts, resolv_conf = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text("127.0.0.1 localhost\n10.1.1.1 orders\n10.1.1.2 orders\n")
    resolv_conf.write_text("nameserver 10.0.0.1\nnameserver 10.0.0.2\n")
    return World(Network(), hosts, resolv_conf)


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


class TestWithoutAQuery:
    @pytest.mark.parametrize(
        ("host", "addresses", "source"),
        [
            pytest.param("192.0.2.7", ("192.0.2.7",), "literal", id="an IPv4 literal"),
            pytest.param("2001:DB8::7", ("2001:db8::7",), "literal", id="an IPv6 literal"),
            pytest.param("fe80::1%lo", ("fe80::1%lo",), "literal", id="a literal with a zone"),
            pytest.param("Orders", ("10.1.1.1", "10.1.1.2"), "hosts", id="the hosts file"),
            pytest.param("localhost", ("127.0.0.1",), "hosts", id="localhost in the hosts file"),
            pytest.param("a.localhost", ("::1", "127.0.0.1"), "localhost", id="*.localhost"),
        ],
    )
    async def test_the_answer_is_at_hand(
        self, world: World, host: str, addresses: tuple[str, ...], source: str
    ) -> None:
        endpoints = tuple(Endpoint(address, 8080) for address in addresses)
        assert await world.resolver().resolve(host, 8080) == Resolution(host, endpoints, source)
        assert world.network.asked == []

    async def test_a_name_that_cannot_be_asked_for_is_an_error_of_its_own(
        self, world: World
    ) -> None:
        with pytest.raises(errors.ResolveError) as caught:
            await world.resolver().resolve("a b", 80)
        assert type(caught.value) is errors.ResolveError
        assert caught.value.stage is Phase.RESOLVING
        assert str(caught.value) == (
            "cannot resolve 'a b': 'a b' is not a host name: 'a b' has a character that is no "
            "letter, digit, hyphen or underscore; nobody was asked"
        )
        assert world.network.asked == []

    def test_no_dns_library_is_loaded_for_it(self, tmp_path: Path) -> None:
        program = (
            "import sys, trio\n"
            "from haclient.net.resolver import SystemResolver\n"
            "resolver = SystemResolver(nameservers=['127.0.0.1:1'])\n"
            "for host in ('127.0.0.1', 'localhost'):\n"
            "    trio.run(resolver.resolve, host, 80)\n"
            "print(sorted(m for m in sys.modules if m.partition('.')[0] in {'dns', 'httpx'}))\n"
        )
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert ran.stdout == b"[]\n"


class TestQueries:
    async def test_every_address_with_its_source_ttl_and_server(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script["10.0.0.1"] = 0.2, both("x.example.", ttl=60)
        resolver = world.resolver()
        endpoints = (Endpoint("2001:db8::1", 80), Endpoint("192.0.2.1", 80))
        assert await resolver.resolve("X.example", 80) == Resolution(
            "X.example", endpoints, "dns", 60.0, "10.0.0.1"
        )
        assert trio.current_time() == 0.2
        await trio.sleep(10)
        cached = await resolver.resolve("x.example", 443)
        assert (cached.source, cached.ttl, cached.server) == ("cache", 50.0, "10.0.0.1")
        assert cached.endpoints[1] == Endpoint("192.0.2.1", 443)
        assert len(world.network.asked) == 2

    async def test_an_answer_is_asked_for_again_when_its_ttl_is_over(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script["*"] = 0.0, both("x.", ttl=5)
        resolver = world.resolver()
        for _ in range(3):
            assert (await resolver.resolve("x", 80)).source == "dns"
            await trio.sleep(5)
        assert world.network.names == ["x.", "x.", "x."]

    async def test_the_next_server_after_silence_and_first_from_then_on(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script = {"10.0.0.1": None, "10.0.0.2": (0.0, both("x.", ttl=1))}
        resolver = world.resolver(stale_for=0)
        assert (await resolver.resolve("x", 80)).server == "10.0.0.2"
        assert trio.current_time() == 2.0
        await trio.sleep(1.0)
        assert (await resolver.resolve("x", 80)).server == "10.0.0.2"
        assert trio.current_time() == 3.0
        await trio.sleep(30.0)
        await resolver.resolve("x", 80)  # the first is given another chance
        assert trio.current_time() == 35.0

    async def test_options_of_resolv_conf_are_kept_to(self, clock: MockClock, world: World) -> None:
        world.resolv_conf.write_text(
            "nameserver 10.0.0.1\nsearch corp.example\n"
            "options timeout:1 attempts:3 ndots:2 use-vc no-aaaa\n"
        )
        with pytest.raises(errors.NameTimeoutError):
            await world.resolver().resolve("x.y", 80)
        assert [(at, ask.qname, ask.rdtype, ask.transport) for at, ask in world.network.asked] == [
            (second, "x.y.corp.example.", A, Transport.TCP) for second in (0.0, 1.0, 2.0)
        ]
        assert trio.current_time() == 3.0

    async def test_given_name_servers_are_asked_instead_of_the_files(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script["*"] = 0.0, both("x.")
        resolution = await world.resolver(["[::1]:5353"]).resolve("x", 80)
        assert resolution.server == "[::1]:5353"


class TestErrors:
    @pytest.mark.parametrize(
        ("reply", "error", "message"),
        [
            pytest.param(
                (0.0, NXDOMAIN),
                errors.NameNotFoundError,
                "cannot resolve x: no such name (asked 10.0.0.1 for A and AAAA of "
                "x.corp.example., x.). Check the spelling; if the name is right, add it to DNS or "
                "to {hosts}",
                id="no such name",
            ),
            pytest.param(
                (0.0, NODATA),
                errors.NoAddressError,
                "cannot resolve x: the name has no address (asked 10.0.0.1 for A and AAAA of "
                "x.corp.example., x.). Add an A or AAAA record, or ask for the host that offers "
                "the service",
                id="no address",
            ),
            pytest.param(
                (0.0, Answer(2)),
                errors.NameServerError,
                "cannot resolve x: the name servers failed: 10.0.0.1: SERVFAIL; 10.0.0.2: SERVFAIL "
                "(asked 10.0.0.1, 10.0.0.2 for A and AAAA of x.corp.example., x.). See what the "
                "name server logs, or name another one in {resolv_conf}",
                id="server failure",
            ),
            pytest.param(
                (0.0, NoAnswer(Fault.UNREACHABLE, "connection refused")),
                errors.NameServerError,
                "cannot resolve x: the name servers failed: 10.0.0.1: connection refused; "
                "10.0.0.2: connection refused (asked 10.0.0.1, 10.0.0.2 for A and AAAA of "
                "x.corp.example.). See what the name server logs, or name another one in "
                "{resolv_conf}",
                id="nobody listens",
            ),
            pytest.param(
                (0.0, Answer(5)),
                errors.NameRefusedError,
                "cannot resolve x: the name servers refused to answer: 10.0.0.1: REFUSED; "
                "10.0.0.2: REFUSED (asked 10.0.0.1, 10.0.0.2 for A and AAAA of x.corp.example., "
                "x.). Let the name server serve this machine, or name another one in {resolv_conf}",
                id="refusal",
            ),
            pytest.param(
                None,
                errors.NameTimeoutError,
                "cannot resolve x: no name server answered: 10.0.0.1: no answer; 10.0.0.2: no "
                "answer (asked 10.0.0.1, 10.0.0.2 for A and AAAA of x.corp.example.). Check that "
                "the name server can be reached on UDP and TCP, or name another one in "
                "{resolv_conf}",
                id="time-out",
            ),
        ],
    )
    async def test_each_has_its_class_and_says_what_was_asked_of_whom(
        self,
        clock: MockClock,
        world: World,
        reply: tuple[float, Reply] | None,
        error: type[errors.ResolveError],
        message: str,
    ) -> None:
        world.resolv_conf.write_text(world.resolv_conf.read_text() + "search corp.example\n")
        world.network.script["*"] = reply
        with pytest.raises(errors.ResolveError) as caught:
            await world.resolver().resolve("x", 80)
        assert type(caught.value) is error
        assert str(caught.value) == message.format(hosts=world.hosts, resolv_conf=world.resolv_conf)
        assert caught.value.stage is Phase.RESOLVING
        assert caught.value.may_have_been_processed is False

    async def test_a_denial_is_remembered_and_says_so(self, clock: MockClock, world: World) -> None:
        world.network.script["*"] = 0.0, NXDOMAIN
        resolver = world.resolver()
        for remembered in (False, True):
            with pytest.raises(errors.NameNotFoundError) as caught:
                await resolver.resolve("x", 80)
            assert ("; remembered for another 15 s." in str(caught.value)) is remembered
            await trio.sleep(5)
        assert world.network.names == ["x."]
        await trio.sleep(10)
        with pytest.raises(errors.NameNotFoundError):
            await resolver.resolve("x", 80)
        assert world.network.names == ["x.", "x."]

    async def test_a_failure_is_not_remembered(self, clock: MockClock, world: World) -> None:
        world.network.script["*"] = 0.0, Answer(2)
        resolver = world.resolver()
        with pytest.raises(errors.NameServerError):
            await resolver.resolve("x", 80)
        world.network.script["*"] = 0.0, both("x.")
        assert (await resolver.resolve("x", 80)).source == "dns"


Outcomes = dict[int, Resolution | errors.ResolveError]


def asker(resolver: SystemResolver, outcomes: Outcomes) -> Callable[[int], Awaitable[None]]:
    async def ask(number: int) -> None:
        try:
            outcomes[number] = await resolver.resolve("x", 8000 + number)
        except errors.ResolveError as error:
            outcomes[number] = error

    return ask


class TestManyAskers:
    async def test_they_share_one_lookup(self, clock: MockClock, world: World) -> None:
        world.network.script["*"] = 1.0, both("x.")
        outcomes: Outcomes = {}
        ask = asker(world.resolver(), outcomes)
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, number)
        assert trio.current_time() == 1.0
        assert len(world.network.asked) == 2
        for number, outcome in outcomes.items():
            assert isinstance(outcome, Resolution)
            assert outcome.endpoints[1] == Endpoint("192.0.2.1", 8000 + number)

    async def test_they_share_a_failure_each_with_an_error_of_its_own(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script["*"] = 1.0, Answer(2)
        outcomes: Outcomes = {}
        ask = asker(world.resolver(), outcomes)
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(ask, number)
        assert len(world.network.asked) == 4  # two types, two servers
        assert all(isinstance(outcome, errors.NameServerError) for outcome in outcomes.values())
        assert len(set(map(id, outcomes.values()))) == 5

    @pytest.mark.parametrize("cancelled_at", [0.0, 0.5])
    async def test_the_owner_is_cancelled_and_the_waiting_get_their_answer(
        self, clock: MockClock, world: World, cancelled_at: float
    ) -> None:
        world.network.script["*"] = 1.0, both("x.")
        outcomes: Outcomes = {}
        ask = asker(world.resolver(), outcomes)

        async def owner() -> None:
            with trio.move_on_after(cancelled_at):
                await ask(0)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(owner)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(1, 6):
                nursery.start_soon(ask, number)
        assert set(outcomes) == {1, 2, 3, 4, 5}
        assert all(isinstance(outcome, Resolution) for outcome in outcomes.values())
        assert len(world.network.asked) <= 4  # the owner's, and one lookup more
        assert trio.current_time() == pytest.approx(cancelled_at + 1.0)

    async def test_impatient_callers_do_not_meet_the_same_silence_for_ever(
        self, clock: MockClock, world: World
    ) -> None:
        world.resolv_conf.write_text(world.resolv_conf.read_text() + "options timeout:5\n")
        world.network.script = {"10.0.0.1": None, "10.0.0.2": (0.1, both("x."))}
        resolver = world.resolver()
        with trio.move_on_after(1.5) as impatient:
            await resolver.resolve("x", 80)
        assert impatient.cancelled_caught
        with trio.fail_after(1.5):
            assert (await resolver.resolve("x", 80)).server == "10.0.0.2"

    async def test_a_cancelled_lookup_leaves_nothing_behind(
        self, clock: MockClock, world: World
    ) -> None:
        resolver = world.resolver()
        with trio.move_on_after(0.1):
            await resolver.resolve("x", 80)
        world.network.script["*"] = 0.0, both("x.")
        with trio.fail_after(0.1):
            assert (await resolver.resolve("x", 80)).source == "dns"


class TestFilesThatChange:
    async def test_a_new_hosts_line_is_seen_within_a_second_and_goes_before_the_cache(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script["*"] = 0.0, both("x.")
        resolver = world.resolver()
        await resolver.resolve("x", 80)
        world.hosts.write_text("10.9.9.9 x\n")
        await trio.sleep(1.0)
        assert (await resolver.resolve("x", 80)).endpoints == (Endpoint("10.9.9.9", 80),)

    async def test_new_name_servers_are_asked_at_once_and_what_was_known_is_not_believed(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script["*"] = 0.0, both("x.")
        resolver = world.resolver()
        assert (await resolver.resolve("x", 80)).server == "10.0.0.1"
        world.resolv_conf.write_text("nameserver 10.7.7.7\n")
        await trio.sleep(1.0)
        changed = await resolver.resolve("x", 80)
        assert (changed.source, changed.server) == ("dns", "10.7.7.7")

    async def test_a_file_that_is_only_touched_leaves_the_cache_alone(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script["*"] = 0.0, both("x.")
        resolver = world.resolver()
        await resolver.resolve("x", 80)
        world.resolv_conf.write_text("# nothing new\n" + world.resolv_conf.read_text())
        await trio.sleep(1.0)
        assert (await resolver.resolve("x", 80)).source == "cache"

    async def test_an_answer_of_the_servers_before_is_given_and_not_kept(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script = {"10.0.0.1": (3.0, both("x.")), "10.7.7.7": (0.0, both("x."))}
        world.resolv_conf.write_text("nameserver 10.0.0.1\noptions timeout:9\n")
        resolver = world.resolver()
        outcomes: Outcomes = {}
        ask = asker(resolver, outcomes)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 0)
            await trio.sleep(1.0)
            world.resolv_conf.write_text("nameserver 10.7.7.7\n")
            await trio.sleep(1.0)
            nursery.start_soon(ask, 1)
            await trio.sleep(0.5)
            assert set(outcomes) == {1}
        answers = [outcomes[number] for number in (0, 1)]
        assert all(isinstance(each, Resolution) for each in answers)
        assert [each.server for each in answers if isinstance(each, Resolution)] == [
            "10.0.0.1", "10.7.7.7",
        ]  # fmt: skip
        assert (await resolver.resolve("x", 80)).server == "10.7.7.7"

    async def test_without_the_files_this_machine_is_asked(
        self, clock: MockClock, world: World
    ) -> None:
        world.hosts.unlink()
        world.resolv_conf.unlink()
        world.network.script["127.0.0.1"] = 0.0, both("orders.")
        assert (await world.resolver().resolve("orders", 80)).server == "127.0.0.1"


class TestConfiguration:
    async def test_whoever_names_name_servers_is_sent_there_for_others(
        self, clock: MockClock, world: World
    ) -> None:
        world.network.script["10.9.9.9"] = 0.0, Answer(2)
        with pytest.raises(
            errors.NameServerError, match=r"or name another one in \[resolver\] nameservers$"
        ):
            await world.resolver(["10.9.9.9:5353"]).resolve("x", 80)

    def test_what_is_in_force_can_be_asked_for(self, world: World) -> None:
        resolver = world.resolver(["10.9.9.9:5353"], max_ttl=60)
        world.resolv_conf.write_text("nameserver 10.0.0.1\nsearch a.example\noptions ndots:3\n")
        assert resolver.configuration() == ResolverConfiguration(
            nameservers=("10.9.9.9:5353",),
            search=("a.example",),
            ndots=3,
            timeout=2,
            attempts=2,
            hosts_path=str(world.hosts),
            resolv_conf_path=str(world.resolv_conf),
            min_ttl=1,
            max_ttl=60,
        )

    def test_repr(self, world: World) -> None:
        assert repr(world.resolver()) == (
            f"<SystemResolver {world.resolv_conf} <DnsCache 0 hosts, TTL 1.0 to 300.0 s>>"
        )

    def test_a_name_server_that_is_none_is_refused(self, world: World) -> None:
        with pytest.raises(ValueError, match="is not a name server"):
            world.resolver(["dns.example"])
