"""The journal is asserted slice by slice, and says what differs."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.events import Suspected
from haclient.types import Endpoint, Evidence, EvidenceKind
from tests.sim.journal import Entry, Journal


async def test_slices(autojump_clock: MockClock) -> None:
    journal = Journal()
    journal.note("a", "one")
    await trio.sleep(1.25)
    journal.note("b", "two")
    journal.expect(
        """
        0.000  a:  one
        1.250  b:  two
        """
    )
    journal.expect("")
    journal.note("a", "three")
    journal.note("b", "four")
    journal.expect("1.250 b: four", "b")
    assert journal.take() == ()
    assert journal.instants("a", "three") == (1.25,)


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        pytest.param("0.000 a: one", "+ 0.000 b: two", id="something more happened"),
        pytest.param(
            "0.000 a: one\n0.000 b: two\n0.500 c: three", "- 0.500 c: three", id="something less"
        ),
        pytest.param("0.000 a: one\n0.100 b: two", "- 0.100 b: two", id="at another instant"),
        pytest.param("0.000 b: two\n0.000 a: one", "+ 0.000 a: one", id="in another order"),
    ],
)
async def test_a_mismatch_is_shown_as_a_diff(
    autojump_clock: MockClock, expected: str, difference: str
) -> None:
    journal = Journal()
    journal.note("a", "one")
    journal.note("b", "two")
    with pytest.raises(AssertionError) as caught:
        journal.expect(expected)
    assert difference in str(caught.value).splitlines()


async def test_the_clients_events_are_kept_whole(autojump_clock: MockClock) -> None:
    journal = Journal()
    evidence = Evidence(EvidenceKind.RETRANSMITS, 1, 0.45)
    event = Suspected(0.0, 1, Endpoint("10.0.0.1", 80), evidence)
    journal.observer()(event)
    assert journal.entries == [Entry(0.0, "client", "Suspected 10.0.0.1:80", event)]
    journal.expect("0.000 client: Suspected 10.0.0.1:80")
