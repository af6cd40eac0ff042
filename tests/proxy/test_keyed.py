"""A POST is sent again only where its key is one."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.proxy.house import house
from tests.sim.effects import AfterRequest, Fault, Reset


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
