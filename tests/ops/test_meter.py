"""What is counted of a transfer."""

from __future__ import annotations

import pytest

from haclient import events
from haclient.ops.meter import Meter
from haclient.types import Endpoint, Origin

A, B = Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80)
LOCAL = Endpoint("10.0.0.9", 5)
ORIGIN = Origin("http", "h.test", 80)


def fed(*several: events.Event) -> Meter:
    meter = Meter(10.0)
    for event in several:
        meter(event)
    return meter


def test_connections_are_counted_where_they_are_new() -> None:
    meter = fed(
        events.Connected(0.0, 1, ORIGIN, A, LOCAL, False),
        events.Connected(0.0, 2, ORIGIN, B, None, True),
        events.Connected(0.0, 3, ORIGIN, B, None, False),
    )

    assert (meter.connects, meter.remote, meter.local) == (2, B, None)


def test_what_is_sent_is_counted_with_every_attempt() -> None:
    meter = fed(
        events.RequestSent(0.0, 1, A, b"x" * 80, 100),
        events.RequestSent(0.0, 2, B, b"x" * 80, 180),
    )

    assert (meter.head_bytes_sent, meter.content_bytes_sent) == (160, 120)


def test_a_head_that_was_sent_in_part_is_no_content() -> None:
    """Over TLS what is counted is not the same."""
    assert fed(events.RequestSent(0.0, 1, A, b"x" * 80, 79)).content_bytes_sent == 0


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"


def hints(attempt: int) -> events.Event:
    fields = ((b"Link", b"a"),)
    return events.InterimReceived(0.0, attempt, 103, fields, b"Early Hints", b"1.1")


def answer(attempt: int) -> events.Event:
    return events.ResponseStarted(0.0, attempt, A, 200, b"OK", b"1.1", ())


@pytest.mark.parametrize(
    ("several", "heads"),
    [
        ([hints(1), hints(1), answer(1)], [HINTS, HINTS]),
        ([hints(1), hints(2), answer(2)], [HINTS]),
        ([hints(1), answer(2)], []),
        ([answer(1)], []),
    ],
    ids=["two of one attempt", "one of each", "one of the other", "none"],
)
def test_interim_heads_are_those_of_the_attempt_that_answered(
    several: list[events.Event], heads: list[bytes]
) -> None:
    assert fed(*several).interim_heads == heads


def test_a_second_transfer_has_a_meter_of_its_own() -> None:
    fed(hints(1), events.Connected(0.0, 1, ORIGIN, A, LOCAL, False))

    fresh = Meter(10.0)
    assert (fresh.connects, fresh.interim_heads, fresh.attempts) == (0, [], [])


def test_what_tells_nothing_of_it_is_passed_over() -> None:
    assert fed(events.Cleared(0.0, 1, A)).connects == 0
