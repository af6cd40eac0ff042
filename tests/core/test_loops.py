"""Whether a request has gone round in circles, by its Via fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.loops import MOST_PASSES, times_passed
from haclient.core.request_head import Refusal, RequestLine, judge
from haclient.errors import ProxyStatus


@pytest.mark.parametrize(
    ("via", "times"),
    [
        pytest.param(b"", 0, id="none"),
        pytest.param(b"1.1 other", 0, id="somebody else"),
        pytest.param(b"1.1 haclient", 1, id="once"),
        pytest.param(b"1.0 haclient,1.1 haclient", 2, id="without a blank"),
        pytest.param(b"1.1 other, HTTP/1.1 HAclient:8080", 1, id="any case, with a port"),
        pytest.param(b"1.1\thaclient\t(a sidecar)", 1, id="tabs, and a comment"),
        pytest.param(b"1.1 a (x, 1.1 haclient), 1.1 haclient", 1, id="a name in a comment"),
        pytest.param(b"1.1 a (x (y, 1.1 haclient) z, 1.1 haclient)", 0, id="nested comments"),
        pytest.param(rb"1.1 a (\), 1.1 haclient), 1.1 haclient", 1, id="a quoted pair"),
        pytest.param(rb"1.1 a\, 1.1 haclient", 1, id="a backslash outside"),
        pytest.param(b"1.1 a (never closed, 1.1 haclient", 0, id="never closed"),
        pytest.param(b"1.1 a), 1.1 haclient", 1, id="never opened"),
        pytest.param(b", ,1.1 haclient, ,", 1, id="empty members"),
        pytest.param(b"haclient", 0, id="no protocol"),
        pytest.param(b"haclient 1.1", 0, id="the wrong way round"),
        pytest.param(b"1.1 haclient2, 1.1 my-haclient", 0, id="names that are alike"),
    ],
)
def test_times_passed(via: bytes, times: int) -> None:
    assert times_passed(via) == times


@given(st.binary(max_size=200))
def test_any_bytes_are_counted(noise: bytes) -> None:
    assert 0 <= times_passed(b"1.1 haclient, " + noise) <= 1 + noise.count(b",") + 1


def request(*fields: tuple[bytes, bytes]) -> RequestLine | Refusal:
    return judge(b"GET", b"/", b"1.1", ((b"Host", b"shop"), *fields))


def test_so_many_in_a_row_are_served() -> None:
    assert isinstance(request(*[(b"Via", b"1.1 haclient")] * (MOST_PASSES - 1)), RequestLine)


def test_the_next_one_refuses_it() -> None:
    folded = (b"via", b", ".join([b"1.1 haclient"] * (MOST_PASSES - 1)))
    assert request((b"Via", b"1.1 HACLIENT"), (b"X", b"y"), folded) == Refusal(
        508,
        "the request has come through haclient 4 times, as its Via says: it goes in circles; look "
        "where the targets of each one on the way lead",
        ProxyStatus.PROXY_LOOP_DETECTED,
    )
