"""The resolver against real name servers on loopback: datagrams, connections, ICMP, files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from haclient import errors
from haclient.core.dns_answer import Fault, NoAnswer, RecordType, Reply
from haclient.core.names import parse_nameserver
from haclient.core.question import Ask, Transport
from haclient.net import dns_client
from haclient.net.resolver import SystemResolver
from haclient.types import Endpoint
from tests.support.dns_server import SPOOFED_ADDRESS, Behaviour, DnsServer, serve_dns

BOUND = 10.0
"""Seconds after which a test is taken to hang."""

GOOD = Behaviour(addresses=("192.0.2.1", "2001:db8::1", "192.0.2.2"), ttl=60)
ALL = {"192.0.2.1", "192.0.2.2", "2001:db8::1"}


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with serve_dns() as running:
        running.script("x.example.", GOOD)
        yield running


@pytest.fixture
def resolv_conf(tmp_path: Path) -> Path:
    path = tmp_path / "resolv.conf"
    path.write_text("options timeout:1 attempts:1\n")
    return path


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text("")
    return path


class Resolvers:
    def __init__(self, hosts: Path, resolv_conf: Path) -> None:
        self.hosts = str(hosts)
        self.resolv_conf = str(resolv_conf)

    def asking(self, *servers: DnsServer | str) -> SystemResolver:
        nameservers = [s if isinstance(s, str) else s.nameserver for s in servers]
        return SystemResolver(
            hosts_path=self.hosts, resolv_conf_path=self.resolv_conf, nameservers=nameservers
        )


@pytest.fixture
def resolvers(hosts: Path, resolv_conf: Path) -> Resolvers:
    return Resolvers(hosts, resolv_conf)


async def addresses(resolver: SystemResolver, host: str = "x.example") -> set[str]:
    with trio.fail_after(BOUND):
        resolution = await resolver.resolve(host, 80)
    return {endpoint.address for endpoint in resolution.endpoints}


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def unused_port() -> str:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


class TestAnswers:
    async def test_every_address_over_udp_with_edns(
        self, server: DnsServer, resolvers: Resolvers
    ) -> None:
        resolver = resolvers.asking(server)
        with trio.fail_after(BOUND):
            resolution = await resolver.resolve("x.example", 80)
        assert [endpoint.address for endpoint in resolution.endpoints] == [
            "2001:db8::1", "192.0.2.1", "192.0.2.2",
        ]  # fmt: skip
        assert (resolution.source, resolution.server) == ("dns", server.nameserver)
        assert sorted((q.rdtype, q.transport, q.has_edns) for q in server.queries) == [
            ("A", "UDP", True), ("AAAA", "UDP", True),
        ]  # fmt: skip

    async def test_over_ipv6(self, resolvers: Resolvers) -> None:
        async with serve_dns("::1") as server:
            server.script("x.example.", GOOD)
            assert await addresses(resolvers.asking(server)) == ALL

    async def test_truncated_answers_come_whole_over_tcp(
        self, server: DnsServer, resolvers: Resolvers
    ) -> None:
        many = tuple(f"10.1.{i // 100}.{i % 100}" for i in range(200))
        server.script("many.example.", Behaviour(addresses=many, is_truncated=True))
        assert await addresses(resolvers.asking(server), "many.example") == set(many)
        assert sorted((q.rdtype, q.transport) for q in server.queries) == [
            ("A", "TCP"), ("A", "UDP"), ("AAAA", "TCP"), ("AAAA", "UDP"),
        ]  # fmt: skip

    async def test_an_alias_with_its_addresses(
        self, server: DnsServer, resolvers: Resolvers
    ) -> None:
        server.script("www.example.", Behaviour(alias="x.example.", ttl=5))
        resolver = resolvers.asking(server)
        with trio.fail_after(BOUND):
            resolution = await resolver.resolve("WWW.example", 80)
        assert len(resolution.endpoints) == 3
        assert resolution.ttl is not None
        assert resolution.ttl <= 5

    async def test_an_alias_alone_is_followed(
        self, server: DnsServer, resolvers: Resolvers
    ) -> None:
        async with serve_dns() as other:  # knows the alias, and not what it leads to
            other.script("www.example.", Behaviour(alias="x.example.", negative_ttl=None))
            other.default = Behaviour(rcode="REFUSED")
            assert await addresses(resolvers.asking(other, server), "www.example") == ALL
        assert server.count("x.example.") == 2

    async def test_a_name_beyond_ascii(self, server: DnsServer, resolvers: Resolvers) -> None:
        server.script("xn--bcher-kva.example.", GOOD)
        assert await addresses(resolvers.asking(server), "bücher.example") == ALL

    async def test_a_server_without_edns_is_asked_again(
        self, server: DnsServer, resolvers: Resolvers
    ) -> None:
        server.script("x.example.", replace(GOOD, understands_edns=False))
        assert await addresses(resolvers.asking(server)) == ALL
        assert sorted((q.rdtype, q.has_edns) for q in server.queries) == [
            ("A", False), ("A", True), ("AAAA", False), ("AAAA", True),
        ]  # fmt: skip

    async def test_spoofed_datagrams_and_stray_records_do_not_count(
        self, server: DnsServer, resolvers: Resolvers
    ) -> None:
        server.script("x.example.", replace(GOOD, is_spoofed=True, has_strays=True))
        assert SPOOFED_ADDRESS not in ALL
        assert await addresses(resolvers.asking(server)) == ALL

    async def test_a_late_ipv6_answer_is_not_waited_for(
        self, server: DnsServer, resolvers: Resolvers
    ) -> None:
        server.script("x.example.", replace(GOOD, delay=5.0), rdtype="AAAA")
        with trio.fail_after(2.0):
            assert await addresses(resolvers.asking(server)) == {"192.0.2.1", "192.0.2.2"}


FAILING = [
    pytest.param(Behaviour(rcode="SERVFAIL"), errors.NameServerError, "SERVFAIL", id="SERVFAIL"),
    pytest.param(Behaviour(rcode="REFUSED"), errors.NameRefusedError, "REFUSED", id="REFUSED"),
    pytest.param(Behaviour(is_garbage=True), errors.NameServerError, "malformed", id="garbage"),
    pytest.param(
        Behaviour(is_truncated=True, is_closing=True),
        errors.NameServerError,
        "connection lost (closed in mid-answer)",
        id="closed in mid-answer",
    ),
    pytest.param(Behaviour(is_silent=True), errors.NameTimeoutError, "no answer", id="silence"),
]


class TestFailures:
    @pytest.mark.parametrize(("behaviour", "error", "message"), FAILING)
    async def test_each_has_its_error(
        self,
        server: DnsServer,
        resolvers: Resolvers,
        behaviour: Behaviour,
        error: type[errors.ResolveError],
        message: str,
    ) -> None:
        server.default = behaviour
        with pytest.raises(errors.ResolveError) as caught:
            await addresses(resolvers.asking(server), "bad.example")
        assert type(caught.value) is error
        assert f"{server.nameserver}: {message}" in str(caught.value)

    @pytest.mark.parametrize(("behaviour", "error", "message"), FAILING)
    async def test_the_second_server_is_asked(
        self,
        server: DnsServer,
        resolvers: Resolvers,
        behaviour: Behaviour,
        error: type[errors.ResolveError],
        message: str,
    ) -> None:
        async with serve_dns() as first:
            first.default = behaviour
            assert await addresses(resolvers.asking(first, server)) == ALL

    async def test_a_port_where_nobody_listens_is_noticed_at_once(
        self, server: DnsServer, resolvers: Resolvers
    ) -> None:
        nobody = await unused_port()
        with trio.fail_after(0.9):
            assert await addresses(resolvers.asking(nobody, server)) == ALL
        with pytest.raises(errors.NameServerError, match=f"{nobody}: connection refused"):
            await addresses(resolvers.asking(nobody))

    @pytest.mark.parametrize(
        ("behaviour", "error"),
        [
            pytest.param(Behaviour(rcode="NXDOMAIN"), errors.NameNotFoundError, id="no such name"),
            pytest.param(Behaviour(), errors.NoAddressError, id="no address"),
        ],
    )
    async def test_a_denial_is_believed_and_kept(
        self,
        server: DnsServer,
        resolvers: Resolvers,
        behaviour: Behaviour,
        error: type[errors.ResolveError],
    ) -> None:
        server.default = behaviour
        resolver = resolvers.asking(server)
        for _ in range(3):
            with pytest.raises(error, match=f"asked {server.nameserver} for A and AAAA of"):
                await addresses(resolver, "gone.example")
        assert server.count("gone.example.") == 2


class TestWholeResolver:
    async def test_five_askers_are_one_query_of_each_type(
        self, server: DnsServer, resolvers: Resolvers
    ) -> None:
        server.script("x.example.", replace(GOOD, delay=0.05))
        resolver = resolvers.asking(server)
        found: list[set[str]] = []

        async def ask() -> None:
            found.append(await addresses(resolver))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert found == [ALL] * 5
        assert server.count("x.example.") == 2

    async def test_the_search_list(
        self, server: DnsServer, resolvers: Resolvers, resolv_conf: Path
    ) -> None:
        write(resolv_conf, "search none.example example\n")
        assert await addresses(resolvers.asking(server), "x") == ALL
        assert [q.qname for q in server.queries if q.rdtype == "A"] == [
            "x.none.example.", "x.example.",
        ]  # fmt: skip

    async def test_localhost_and_the_hosts_file_ask_nobody(
        self, server: DnsServer, resolvers: Resolvers, hosts: Path
    ) -> None:
        write(hosts, "10.1.1.1 x.example\n")
        resolver = resolvers.asking(server)
        assert await addresses(resolver) == {"10.1.1.1"}
        assert await addresses(resolver, "localhost") == {"127.0.0.1", "::1"}
        assert server.queries == []

    async def test_an_edited_resolv_conf_is_followed(
        self, resolvers: Resolvers, resolv_conf: Path, hosts: Path
    ) -> None:
        async with serve_dns("127.0.0.2") as first, serve_dns("127.0.0.3") as second:
            ports = {server.host: server.port for server in (first, second)}

            async def exchange(ask: Ask) -> Reply:  # the file cannot name a port
                server = Endpoint(ask.server.address, ports[ask.server.address])
                return await dns_client.exchange(msgspec.structs.replace(ask, server=server))

            resolver = SystemResolver(
                hosts_path=str(hosts), resolv_conf_path=str(resolv_conf), exchange=exchange
            )
            for server, address in ((first, "10.0.0.2"), (second, "10.0.0.3")):
                server.script("x.example.", Behaviour(addresses=(address,)))
                write(resolv_conf, f"nameserver {server.host}\n")
                with trio.fail_after(BOUND):  # the file is looked at once a second
                    while await addresses(resolver) != {address}:  # noqa: ASYNC110  (a file)
                        await trio.sleep(0.05)
            assert (first.count("x.example."), second.count("x.example.")) == (2, 2)


class TestDnsClient:
    async def test_over_tcp_something_else_than_the_answer_is_a_failure(
        self, server: DnsServer
    ) -> None:
        server.script("x.example.", replace(GOOD, is_spoofed=True))
        ask = Ask(1, "x.example.", RecordType.A, parse_nameserver(server.nameserver), Transport.TCP)
        with trio.fail_after(BOUND):
            assert await dns_client.exchange(ask) == NoAnswer(
                Fault.MALFORMED, "not an answer to the query"
            )

    async def test_a_cancelled_exchange_leaves_no_socket(self, server: DnsServer) -> None:
        server.default = Behaviour(is_silent=True)
        for transport in Transport:
            nameserver = parse_nameserver(server.nameserver)
            ask = Ask(1, "y.", RecordType.A, nameserver, transport)
            with trio.move_on_after(0.05) as scope:
                await dns_client.exchange(ask)
            assert scope.cancelled_caught
