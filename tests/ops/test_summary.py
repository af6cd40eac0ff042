"""From what a meter holds to what -w prints."""

from __future__ import annotations

import pytest

from haclient.core.url import parse_url
from haclient.ops.meter import Meter
from haclient.ops.output import Output
from haclient.ops.summary import summarize
from haclient.ops.write_out import Times
from haclient.types import AttemptRecord, Endpoint, Origin, Phase, Verdict

ORIGIN = Origin("http", "h.test", 80)
A, LOCAL = Endpoint("10.0.0.1", 80), Endpoint("10.0.0.9", 5)


def attempt(number: int, at: float, verdict: Verdict = Verdict.ANSWERED) -> AttemptRecord:
    return AttemptRecord(
        number,
        ORIGIN,
        A,
        Phase.DONE,
        verdict,
        at,
        at + 1,
        connected_at=at + 0.25,
        usable_at=at + 0.5,
    )


def test_a_transfer_that_did_not_begin() -> None:
    told = summarize(Meter(10.0), "http://a b/", 3, 10.5, exit_code=3, error_message="a space")

    assert (told.url, told.url_effective, told.urlnum) == ("http://a b/", "http://a b/", 3)
    assert (told.exit_code, told.error_message) == (3, "a space")
    assert (told.http_code, told.http_version, told.scheme) == (0, "0", "")
    assert told.times == Times(total=0.5)
    assert (told.attempts, told.num_retries) == ((), 0)


def test_everything_that_was_counted() -> None:
    meter = Meter(
        10.0,
        url=parse_url("http://h.test/p"),
        method="PUT",
        referer=b"http://from.test",
        attempts=[attempt(1, 10.0, Verdict.DEAD), attempt(2, 11.0)],
        redirects=2,
        connects=3,
        head_bytes_sent=100,
        content_bytes_sent=200,
        head_bytes_received=300,
        remote=A,
        local=LOCAL,
        output=Output("out"),
    )
    assert meter.output is not None
    meter.output.written = 400
    told = summarize(meter, "h.test/p", 0, 13.0)

    assert (told.url, told.url_effective, told.method) == ("h.test/p", "http://h.test/p", "PUT")
    assert (told.scheme, told.referer, told.filename) == ("http", "http://from.test", "out")
    assert (told.size_request, told.size_upload) == (100, 200)
    assert (told.size_header, told.size_download) == (300, 400)
    assert (told.num_connects, told.num_redirects, told.num_retries) == (3, 2, 1)
    assert (told.remote, told.local) == (A, LOCAL)
    assert told.failover_time == 1.0
    assert (told.times.connect, told.times.total) == (1.25, 3.0)


def test_only_the_last_request_has_times_and_only_tries_beyond_the_first_are_retries() -> None:
    meter = Meter(
        10.0,
        url=parse_url("http://h.test/"),
        attempts=[attempt(1, 10.0), attempt(1, 12.0, Verdict.CLOSED), attempt(2, 13.0)],
        redirected_at=12.0,
    )
    told = summarize(meter, "h.test", 0, 14.0)

    assert told.num_retries == 1
    assert (told.times.redirect, told.times.connect) == (2.0, 3.25)
    assert told.failover_time == 1.0


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("", ""),
        ("/b", "http://h.test/b"),
        ("//c.test/", "http://c.test/"),
        ("foo://c.test/", "foo://c.test/"),
        ("http://a\tb/", "http://a\tb/"),
    ],
    ids=["nowhere", "a path", "a host", "another scheme", "no URL"],
)
def test_where_a_redirect_points(location: str, leads_to: str) -> None:
    meter = Meter(10.0, url=parse_url("http://h.test/a"), location=location)

    assert summarize(meter, "x", 0, 10.0).redirect_url == leads_to
