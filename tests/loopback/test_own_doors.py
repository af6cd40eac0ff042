"""A process's own listeners, whatever they are bound to and however their addresses are written."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from haclient.net import own_doors
from haclient.net.own_doors import OwnDoorError, OwnDoors
from haclient.net.racer import connect_failure, words
from haclient.types import ConnectFailure, Endpoint
from tests.sim.network import SimNetwork
from tests.sim.origin import SimOrigin


def listening(address: str, port: int = 0, *, is_dual: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_dual)
    sock.bind((address, port))
    sock.listen()
    return sock


def address_of_this_machine() -> str | None:
    """One that is not loopback; asked without a packet (documentation's own network, RFC 5737)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.connect(("192.0.2.1", 9))
        return str(sock.getsockname()[0])
    return None


async def is_refused(bind: str, dialled: str, *, is_dual: bool = False) -> bool:
    network = SimNetwork()
    with listening(bind, is_dual=is_dual) as sock:
        port = sock.getsockname()[1]
        endpoint = Endpoint(dialled, port)
        SimOrigin(network, endpoint, "somebody else")
        doors = OwnDoors(network)
        doors.know({"listener orders": sock})
        try:
            (await doors.connect(endpoint)).close()
        except OwnDoorError:
            return True
        return False


@pytest.mark.parametrize(
    ("bind", "dialled"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.9"),
        ("0.0.0.0", "0.0.0.0"),
        ("::1", "::1"),
        ("::1", "0:0::1"),
        ("::", "::1"),
    ],
)
async def test_what_is_ours(bind: str, dialled: str) -> None:
    assert await is_refused(bind, dialled)


@pytest.mark.parametrize(
    ("bind", "dialled"),
    [
        ("127.0.0.1", "127.0.0.2"),
        ("127.0.0.1", "::1"),
        ("0.0.0.0", "192.0.2.1"),
        ("0.0.0.0", "::1"),
        ("::", "127.0.0.1"),
        ("::", "2001:db8::1"),
    ],
)
async def test_what_is_somebody_elses(bind: str, dialled: str) -> None:
    assert not await is_refused(bind, dialled)


async def test_a_socket_for_both_families() -> None:
    assert await is_refused("::", "127.0.0.1", is_dual=True)


@pytest.mark.skipif(address_of_this_machine() is None, reason="there is loopback alone")
async def test_every_address_of_this_machine_is_ours_behind_a_wildcard() -> None:
    address = address_of_this_machine()
    assert address is not None
    assert await is_refused("0.0.0.0", address)


def test_what_a_race_makes_of_it() -> None:
    error = OwnDoorError("it is listener orders of this daemon")
    assert words(error) == "it is listener orders of this daemon"
    assert connect_failure(error) is ConnectFailure.OWN_DOOR


async def test_other_ports_are_nobodys() -> None:
    network = SimNetwork()
    with listening("0.0.0.0") as sock:
        doors = OwnDoors(network)
        doors.know({"listener orders": sock})
        endpoint = Endpoint("127.0.0.1", sock.getsockname()[1] ^ 1)
        SimOrigin(network, endpoint, "a")
        (await doors.connect(endpoint)).close()


async def test_unix_sockets_by_any_path(tmp_path: Path) -> None:
    path, other = tmp_path / "door", tmp_path / "alias"
    other.symlink_to(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
        sock.listen()
        doors = OwnDoors(SimNetwork())
        doors.know({"listener orders": sock})
        for each in (path, other):
            with pytest.raises(OwnDoorError):
                await doors.connect(Endpoint(str(each), 0))
        with pytest.raises(OSError, match=r".") as caught:
            await doors.connect(Endpoint(str(tmp_path / "server"), 0))
        assert not isinstance(caught.value, OwnDoorError)


async def test_what_is_no_listener_any_more_may_be_a_server() -> None:
    network = SimNetwork()
    with listening("127.0.0.1") as sock:
        endpoint = Endpoint("127.0.0.1", sock.getsockname()[1])
        SimOrigin(network, endpoint, "a")
        doors = OwnDoors(network)
        doors.know({"listener orders": sock})
        doors.know({})
        (await doors.connect(endpoint)).close()


async def test_a_socket_of_another_network_is_not_in_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one that is inherited by a service with a network of its own (PrivateNetwork=)."""
    numbers = iter([b"\1", b"\2"])
    monkeypatch.setattr(own_doors, "_namespace", lambda sock: next(numbers))
    assert not await is_refused("127.0.0.1", "127.0.0.1")


async def test_a_kernel_that_numbers_no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_doors, "SO_NETNS_COOKIE", 9999)
    assert await is_refused("127.0.0.1", "127.0.0.1")
