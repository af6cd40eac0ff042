"""What is told of a way to a connection."""

from __future__ import annotations

import pytest

from haclient.core.met import Met
from haclient.errors import NameNotFoundError, ResolveError
from haclient.types import ConnectFailure, ConnectionAttempt, Endpoint

A, B = Endpoint("192.0.2.1", 80), Endpoint("192.0.2.2", 80)
NO_NAME = NameNotFoundError("there is no a.example")

REFUSED, TIMED_OUT, LOST = ConnectFailure.REFUSED, ConnectFailure.TIMED_OUT, ConnectFailure.LOST


def connect(
    endpoint: Endpoint, failure: ConnectFailure | None, started_at: float = 10.0
) -> ConnectionAttempt:
    return ConnectionAttempt(endpoint, started_at, 11.0, failure=failure)


@pytest.mark.parametrize(
    ("attempts", "errors", "expected"),
    [
        pytest.param([], [], "", id="nothing"),
        pytest.param([connect(A, None)], [], "", id="nothing amiss"),
        pytest.param([connect(A, REFUSED)], [NO_NAME], f"{A} refused, {NO_NAME}", id="both kinds"),
        pytest.param([], [NO_NAME, NO_NAME], str(NO_NAME), id="the same words once"),
        pytest.param(
            [connect(A, TIMED_OUT), connect(B, REFUSED), connect(A, REFUSED)],
            [],
            f"{A} refused, {B} refused",
            id="of each address the last",
        ),
    ],
)
def test_description(
    attempts: list[ConnectionAttempt], errors: list[ResolveError], expected: str
) -> None:
    assert Met(attempts=attempts, errors=errors).describe() == expected


@pytest.mark.parametrize(
    ("attempts", "errors", "expected"),
    [
        ([], [], False),
        ([], [NO_NAME], True),
        ([connect(A, REFUSED)], [NO_NAME], False),
        ([connect(A, REFUSED)], [], False),
    ],
)
def test_whether_only_names_failed(
    attempts: list[ConnectionAttempt], errors: list[ResolveError], expected: bool
) -> None:
    assert Met(attempts=attempts, errors=errors).has_only_names_failed is expected


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        pytest.param([], None, id="nobody was asked"),
        pytest.param([connect(A, TIMED_OUT, 12.0), connect(B, TIMED_OUT, 10.5)], 4.5, id="all"),
        pytest.param([connect(A, TIMED_OUT), connect(B, REFUSED)], None, id="one spoke"),
        pytest.param([connect(A, None)], None, id="one was connected"),
    ],
)
def test_how_long_all_were_silent(
    attempts: list[ConnectionAttempt], expected: float | None
) -> None:
    assert Met(attempts=attempts).silent_for(15.0) == expected


def test_who_refused() -> None:
    attempts = [connect(A, REFUSED), connect(B, LOST), connect(B, None)]
    assert Met(attempts=attempts).refused() == {A}
