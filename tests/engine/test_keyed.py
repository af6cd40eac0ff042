"""The key belongs to the request: every attempt bears it, the next request another one."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from haclient.core.spec import IdempotencyKey, Target
from haclient.engine.keyed import as_keyed, facts_of
from haclient.types import Verdict
from tests.engine.world import BOTH, world
from tests.sim.effects import AfterRequest, Fault, Reset

GENERATE, HONOUR, IGNORE = IdempotencyKey.GENERATE, IdempotencyKey.HONOUR, IdempotencyKey.IGNORE

TARGET = Target(urls=BOTH.urls, idempotency_key="generate")
KEY = (b"Idempotency-Key", b"7")


@pytest.mark.parametrize("meaning", IdempotencyKey)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_an_idempotent_request_is_as_it_was(method: str, meaning: IdempotencyKey) -> None:
    fields = (KEY,)
    kept, facts = as_keyed(method, fields, meaning)
    assert kept is fields
    assert facts is facts_of(method)


@pytest.mark.parametrize(
    ("meaning", "fields", "is_keyed", "is_added"),
    [
        (HONOUR, (), False, False),
        (HONOUR, (KEY,), True, False),
        (IGNORE, (KEY,), False, False),
        (GENERATE, (KEY,), True, False),
        (GENERATE, (), True, True),
        (GENERATE, (KEY, KEY), False, False),
    ],
)
def test_what_a_post_becomes(
    meaning: IdempotencyKey, fields: tuple[tuple[bytes, bytes], ...], is_keyed: bool, is_added: bool
) -> None:
    kept, facts = as_keyed("POST", fields, meaning)
    assert facts.is_idempotent is is_keyed
    assert not facts.is_safe
    assert (len(kept) > len(fields)) is is_added


async def test_the_library_adds_one_to_a_post_and_every_attempt_bears_it(
    autojump_clock: MockClock,
) -> None:
    async with world(Fault(Reset(), AfterRequest())) as w:
        outcomes = [await w.ask("POST", target=TARGET) for _ in range(2)]
        assert [one.verdicts for one in outcomes] == [
            [Verdict.CLOSED, Verdict.ANSWERED],
            [Verdict.ANSWERED],
        ]
        executed = [request for origin in w.origins for request in origin.executed]
        seen = [request.value(b"idempotency-key") for request in executed]
        assert None not in seen
        assert len(seen) == 3
        assert len(set(seen)) == 2
