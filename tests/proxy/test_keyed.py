"""A POST is sent again only where its key is one: its client's, or one that it was given."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from haclient.core.spec import Target
from tests.proxy.house import House, house
from tests.sim.effects import AfterRequest, Blackhole, Fault, Kill, Reset


@pytest.mark.parametrize(
    ("fields", "runs"),
    [
        ("Idempotency-Key: a|", 2),
        ("Idempotency-Key:|", 1),
        ("Idempotency-Key: |", 1),
        ('Idempotency-Key: ""|', 1),
        ("Idempotency-Key: a|Idempotency-Key: b|", 1),
    ],
    ids=["a key", "empty", "blank", "an empty string", "two"],
)
async def test_a_post_whose_server_resets(
    autojump_clock: MockClock, fields: str, runs: int
) -> None:
    async with house() as h:
        h.a.script(Fault(Reset(), AfterRequest()))
        status, at = (200, 0.002) if runs == 2 else (502, 0.0)
        await h.ask(status, at, "POST", content=b"hi", fields=fields)
        assert len(h.runs()) == runs


GENERATES = Target(urls=["http://ab.test/"], idempotency_key="generate")


def keys(h: House) -> dict[str, list[bytes]]:
    """By the origins' names, the keys that they saw, in order."""
    return {
        one.name: [value for name, value in request.fields if name.lower() == b"idempotency-key"]
        for one in h.origins
        for request in one.executed
    }


@pytest.mark.parametrize(
    ("strikes", "at"), [(Reset(), 0.002), (Kill(), 0.002), (Blackhole(), 2.502)], ids=str
)
async def test_both_servers_see_the_key_that_was_added(
    autojump_clock: MockClock, strikes: Reset | Kill | Blackhole, at: float
) -> None:
    async with house(Fault(strikes, AfterRequest()), target=GENERATES) as h:
        await h.ask(200, at, "POST", content=b"hi")
        assert h.runs() == ["a", "b"]
        seen = keys(h)
        assert len(seen["a"]) == 1
        assert seen["a"] == seen["b"]
        assert len(h.told()) == 1


async def test_each_request_is_given_another_key(autojump_clock: MockClock) -> None:
    async with house(target=GENERATES) as h:
        for _ in range(3):
            await h.ask(200, 0.0, "POST")
        executed = [request for one in h.origins for request in one.executed]
        assert len({request.value(b"idempotency-key") for request in executed}) == 3


@pytest.mark.parametrize(
    ("method", "fields", "seen"),
    [
        ("POST", 'Idempotency-Key: "mine"|', [b'"mine"']),
        ("PATCH", 'Idempotency-Key: "mine"|', [b'"mine"']),
        ("GET", "", []),
        ("PUT", "", []),
        ("POST", "Idempotency-Key: a|Idempotency-Key: b|", [b"a", b"b"]),
    ],
)
async def test_what_goes_out_as_it_came(
    autojump_clock: MockClock, method: str, fields: str, seen: list[bytes]
) -> None:
    async with house(target=GENERATES) as h:
        await h.ask(200, 0.0, method, fields=fields)
        assert keys(h) == {"a": seen}


async def test_an_empty_key_is_replaced(autojump_clock: MockClock) -> None:
    async with house(Fault(Reset(), AfterRequest()), target=GENERATES) as h:
        await h.ask(200, 0.002, "POST", fields="Idempotency-Key: |")
        seen = keys(h)
        assert seen["a"] == seen["b"]
        assert len(seen["a"][0]) == 38


async def test_two_keys_are_none(autojump_clock: MockClock) -> None:
    async with house(Fault(Reset(), AfterRequest()), target=GENERATES) as h:
        await h.ask(502, 0.0, "POST", fields="Idempotency-Key: a|Idempotency-Key: b|")
        assert h.runs() == ["a"]
        h.engine.shed_idle()


async def test_a_key_is_no_leave_for_a_second_run_beside_the_first(
    autojump_clock: MockClock,
) -> None:
    """Cut off for 2 s, and suspect: a GET would be elsewhere by then. Its kernel sends the answer again."""
    async with house(Fault(Blackhole(2.0), AfterRequest()), target=GENERATES) as h:
        await h.ask(200, 3.31, "POST")
        assert h.runs() == ["a"]
