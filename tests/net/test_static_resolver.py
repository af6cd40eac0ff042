"""Addresses that the caller gave go before every other source, for their host and port alone."""

from __future__ import annotations

import pytest

from haclient.net import Resolution
from haclient.net.static_resolver import StaticResolver
from haclient.types import Endpoint

GIVEN = (Endpoint("10.0.0.1", 8443), Endpoint("::1", 8443))
ANY = (Endpoint("10.0.0.9", 80),)


class Inner:
    async def resolve(self, host: str, port: int) -> Resolution:
        return Resolution(host, (Endpoint("192.0.2.1", port),), "dns")

    def __repr__(self) -> str:
        return "<Inner>"


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        pytest.param(
            "orders.example", 443, Resolution("orders.example", GIVEN, "static"), id="given"
        ),
        pytest.param(
            "Orders.EXAMPLE.", 443, Resolution("Orders.EXAMPLE.", GIVEN, "static"), id="any case"
        ),
        pytest.param(
            "orders.example", 80, Resolution("orders.example", ANY, "static"), id="any host"
        ),
        pytest.param(
            "other.example", 80, Resolution("other.example", ANY, "static"), id="another host"
        ),
        pytest.param(
            "orders.example",
            81,
            Resolution("orders.example", (Endpoint("192.0.2.1", 81),), "dns"),
            id="another port: asked on",
        ),
    ],
)
async def test_resolve(host: str, port: int, expected: Resolution) -> None:
    resolver = StaticResolver({("orders.Example", 443): GIVEN, ("*", 80): ANY}, Inner())
    assert await resolver.resolve(host, port) == expected


def test_repr() -> None:
    assert repr(StaticResolver({}, Inner())) == "<StaticResolver 0 entries before <Inner>>"
