"""The way to a name that the options lead another way."""

from __future__ import annotations

import pytest

from haclient.errors import NoAddressError
from haclient.net import Resolution
from haclient.ops.rerouting import Rerouting
from haclient.ops.routes import parse_connect_to
from haclient.types import Endpoint, Phase

V4, V6 = "10.0.0.1", "2001:db8::1"


class Everything:
    """Has both addresses for every name, and remembers who was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> Resolution:
        self.asked.append((host, port))
        return Resolution(host, (Endpoint(V6, port), Endpoint(V4, port)), "dns", 5.0, "10.0.0.53")


@pytest.fixture
def inner() -> Everything:
    return Everything()


async def test_without_a_rule_nothing_changes(inner: Everything) -> None:
    found = await Rerouting(inner).resolve("h.test", 80)

    assert found == Resolution(
        "h.test", (Endpoint(V6, 80), Endpoint(V4, 80)), "dns", 5.0, "10.0.0.53"
    )


async def test_another_host_and_port_are_asked_for(inner: Everything) -> None:
    rules = parse_connect_to(["h.test:80:other.test:81", "::third.test:"])
    resolver = Rerouting(inner, rules)

    assert (await resolver.resolve("h.test", 80)).endpoints[0] == Endpoint(V6, 81)
    await resolver.resolve("h.test", 443)
    assert inner.asked == [("other.test", 81), ("third.test", 443)]


async def test_a_socket_stands_for_every_name(inner: Everything) -> None:
    found = await Rerouting(inner, unix_socket="/run/s").resolve("h.test", 80)

    assert found == Resolution("h.test", (Endpoint("/run/s", 0),), "static")
    assert inner.asked == []


@pytest.mark.parametrize(("is_ipv6", "address"), [(False, V4), (True, V6)])
async def test_one_family_alone(is_ipv6: bool, address: str, inner: Everything) -> None:
    resolver = Rerouting(inner, is_ipv4_only=not is_ipv6, is_ipv6_only=is_ipv6)
    found = await resolver.resolve("h.test", 80)

    assert found.endpoints == (Endpoint(address, 80),)
    assert (found.source, found.ttl) == ("dns", 5.0)


class OfOneFamily:
    def __init__(self, address: str) -> None:
        self.address = address

    async def resolve(self, host: str, port: int) -> Resolution:
        return Resolution(host, (Endpoint(self.address, port),), "dns")


@pytest.mark.parametrize(
    ("has", "is_ipv6", "message"),
    [
        (V4, True, "cannot resolve h.test: it has no IPv6 address. Leave -6 out"),
        (V6, False, "cannot resolve h.test: it has no IPv4 address. Leave -4 out"),
    ],
)
async def test_a_name_without_an_address_of_that_family(
    has: str, is_ipv6: bool, message: str
) -> None:
    resolver = Rerouting(OfOneFamily(has), is_ipv4_only=not is_ipv6, is_ipv6_only=is_ipv6)

    with pytest.raises(NoAddressError) as caught:
        await resolver.resolve("h.test", 80)

    assert str(caught.value) == message
    assert caught.value.stage is Phase.RESOLVING
