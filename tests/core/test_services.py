"""SRV records: their text, and the order in which their servers are asked."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.services import Service, by_priority, parse_service, service_text

A, B, C = (Service(10, 0, 8080, f"{name}.example.") for name in "abc")


def weighing(weight: int, service: Service = A) -> Service:
    return Service(service.priority, weight, service.port, service.target)


def names(levels: tuple[tuple[Service, ...], ...]) -> list[str]:
    return ["".join(service.target[0] for service in level) for level in levels]


def share(*services: Service, rounds: int = 20_000) -> dict[str, float]:
    """How often each is the first."""
    chance = random.Random(7).random
    first = Counter(names(by_priority(services, chance))[0][0] for _ in range(rounds))
    return {name: count / rounds for name, count in first.items()}


numbers = st.integers(0, 65535)
services = st.builds(
    Service, numbers, numbers, numbers, st.from_regex(r"[a-z]{1,9}\.", fullmatch=True)
)


class TestText:
    @given(services)
    def test_what_is_written_is_read(self, service: Service) -> None:
        assert parse_service(service_text(service)) == service

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "10 60 8080",
            f"10 60 8080 {'a' * 1021}",
            "10 60 8080 ",
            "10 60 65536 a.",
            "-1 0 1 a.",
            "1 1 1 a b",
            "１ 1 1 a.",
        ],
    )
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not a service as it is written here"):
            parse_service(text)


class TestOrder:
    def test_the_lowest_priority_first(self) -> None:
        services = [Service(20, 5, 80, "b."), Service(5, 0, 80, "a."), Service(100, 9, 80, "c.")]
        assert names(by_priority(services, lambda: 0.99)) == ["a", "b", "c"]

    def test_none(self) -> None:
        assert by_priority([], lambda: 0.5) == ()

    @pytest.mark.parametrize(
        "nobody", [Service(0, 0, 0, "."), Service(0, 0, 80, "."), Service(0, 1, 0, "a.")]
    )
    def test_no_service_and_no_port_are_left_out(self, nobody: Service) -> None:
        assert by_priority([nobody], lambda: 0.5) == ()
        assert names(by_priority([nobody, B], lambda: 0.5)) == ["b"]

    @pytest.mark.parametrize(
        ("weights", "shares"),
        [
            ((1, 3, 6), (0.1, 0.3, 0.6)),
            ((6, 3, 1), (0.6, 0.3, 0.1)),
            ((1, 1), (0.5, 0.5)),
            ((5, 5), (0.5, 0.5)),
            ((1, 1, 1), (1 / 3, 1 / 3, 1 / 3)),
            ((65535, 65535), (0.5, 0.5)),
            # No weight is all but no chance beside others: all such together have one part.
            ((99, 0), (0.99, 0.01)),
            ((0, 99), (0.01, 0.99)),
            ((1, 0, 0), (0.5, 0.25, 0.25)),
            # Where all weigh nothing all are alike.
            ((0, 0), (0.5, 0.5)),
            ((0, 0, 0), (1 / 3, 1 / 3, 1 / 3)),
        ],
    )
    def test_a_servers_chance_is_its_weight(
        self, weights: tuple[int, ...], shares: tuple[float, ...]
    ) -> None:
        found = share(*map(weighing, weights, (A, B, C)))
        assert found == pytest.approx(dict(zip("abc", shares, strict=False)), abs=0.02)
        assert all(found.values())

    def test_those_without_weight_are_alike_behind_the_others(self) -> None:
        chance = random.Random(7).random
        services = (weighing(60000), B, C)
        orders = Counter(names(by_priority(services, chance))[0] for _ in range(20_000))
        assert orders["abc"] / 20_000 == pytest.approx(0.5, abs=0.02)
        assert orders["acb"] / 20_000 == pytest.approx(0.5, abs=0.02)

    @given(st.lists(services, max_size=9), st.floats(0, 1, exclude_max=True))
    def test_nobody_is_lost_or_asked_twice(self, given: list[Service], chance: float) -> None:
        levels = by_priority(given, lambda: chance)
        drawn = [service for level in levels for service in level]
        assert Counter(drawn) == Counter(one for one in given if one.port)
        assert [level[0].priority for level in levels] == sorted({s.priority for s in drawn})
