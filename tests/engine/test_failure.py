"""From the records of an exchange to the one error that names what happened and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from haclient.core.retry import GiveUp
from haclient.core.url import parse_url
from haclient.engine.failure import error_for
from haclient.engine.live import LiveTarget
from haclient.engine.reach import Reach
from haclient.errors import (
    BadRequestError,
    CertificateError,
    ConnectError,
    ConnectTimeoutError,
    ContentError,
    Error,
    LoopError,
    NameTimeoutError,
    ProtocolError,
    ProxyCredentialsError,
    ProxyError,
    ResponseIncompleteError,
    ResponseTimeoutError,
    ServerDiedError,
    TlsError,
)
from haclient.types import (
    AttemptRecord,
    ConnectFailure,
    ConnectionAttempt,
    Endpoint,
    Evidence,
    EvidenceKind,
    Limit,
    Order,
    Origin,
    Phase,
    Verdict,
)

ORIGIN = Origin("http", "a.test", 80)
A = Endpoint("10.0.0.1", 80)
B = Endpoint("10.0.0.2", 80)

SENT = AttemptRecord(
    1, ORIGIN, A, Phase.WAITING, Verdict.CLOSED, 10.0, 10.5, "no more", bytes_sent=100
)
UNCONNECTED = AttemptRecord(1, ORIGIN, None, Phase.CONNECTING, Verdict.REFUSED, 10.0, 11.0)


def unreached(
    *attempts: ConnectionAttempt,
    errors: tuple[NameTimeoutError, ...] = (),
    proxy: str = "",
    urls: Sequence[str] = ("http://a.test/x",),
) -> Reach:
    """A Reach that led nowhere; of its target no more is asked than the URLs and the proxy."""
    target = SimpleNamespace(
        proxy=parse_url(proxy) if proxy else None,
        tiers=tuple((parse_url(url),) for url in urls),
    )
    reach = Reach(cast("LiveTarget", target), 1, None, order=Order.FASTEST)
    reach.met.attempts += attempts
    reach.met.errors += errors
    return reach


def failed(failure: ConnectFailure, endpoint: Endpoint = A, detail: str = "") -> ConnectionAttempt:
    return ConnectionAttempt(endpoint, 10.0, 10.25, failure=failure, detail=detail)


def error_of(*records: AttemptRecord, reach: Reach | None = None, reason: str = "why") -> Error:
    error = error_for(records, GiveUp(reason), reach, None)
    assert isinstance(error, Error)
    assert error.attempts == records
    return error


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (SENT, ServerDiedError),
        (replace(SENT, verdict=Verdict.DEAD), ServerDiedError),
        (replace(SENT, phase=Phase.SENDING), ServerDiedError),
        (replace(SENT, phase=Phase.RECEIVING), ResponseIncompleteError),
        (replace(SENT, phase=Phase.RECEIVING, verdict=Verdict.DEAD), ResponseIncompleteError),
        (replace(SENT, verdict=Verdict.SLOW), ResponseTimeoutError),
        (replace(SENT, phase=Phase.RECEIVING, verdict=Verdict.SLOW), ResponseTimeoutError),
        (replace(SENT, verdict=Verdict.GARBLED), ProtocolError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else value.describe(),
)
def test_the_class_says_how_far_it_came(record: AttemptRecord, kind: type[Error]) -> None:
    error = error_of(record)
    assert type(error) is kind
    assert error.stage is record.phase
    assert error.may_have_been_processed


def test_the_message_says_what_happened_and_why_nothing_more_was_tried() -> None:
    assert str(error_of(SENT, reason="POST is not idempotent")) == (
        "10.0.0.1:80: closed while waiting after 0.50 s (no more); "
        "a server may have executed the request; not tried again: POST is not idempotent"
    )


@pytest.mark.parametrize("limit", [None, *Limit])
def test_a_limit_of_ours_is_told_as_such(limit: Limit | None) -> None:
    error = error_for((SENT,), GiveUp("why", limit), None, None)
    assert isinstance(error, Error)
    assert (error.why_not_again, error.limit) == ("why", limit)


def test_nothing_was_sent_and_the_message_does_not_say_so_of_the_request() -> None:
    error = error_of(replace(SENT, bytes_sent=0))
    assert not error.may_have_been_processed
    assert "may have" not in str(error)


class TestManyAttempts:
    def test_the_last_server_that_failed_names_the_error_and_the_others_follow(self) -> None:
        evidence = Evidence(EvidenceKind.RETRANSMITS, 2, 1.0)
        second = replace(SENT, number=2, endpoint=B, verdict=Verdict.DEAD, evidence=evidence)
        error = error_of(SENT, second, replace(UNCONNECTED, number=3))
        assert str(error).splitlines() == [
            "10.0.0.2:80: dead while waiting after 0.50 s (2 retransmissions unanswered, silent for "
            "1.00 s); a server may have executed the request; not tried again: why",
            "  attempt 1: 10.0.0.1:80: closed while waiting after 0.50 s (no more)",
            "  attempt 3: http://a.test: refused while connecting after 1.00 s",
        ]

    @pytest.mark.parametrize("verdict", [Verdict.SUPERSEDED, Verdict.CANCELLED])
    def test_one_that_was_given_up_names_it_only_where_no_other_does(
        self, verdict: Verdict
    ) -> None:
        second = replace(SENT, number=2, endpoint=B, verdict=verdict)
        assert str(error_of(SENT, second)).startswith("10.0.0.1:80: closed")
        first = replace(SENT, verdict=verdict)
        assert str(error_of(first, second)).startswith(f"10.0.0.2:80: {verdict.value}")

    def test_whoever_knows_better_says_which_one_it_is(self) -> None:
        second = replace(SENT, number=2, endpoint=B, phase=Phase.RECEIVING)
        error = error_for((SENT, second), GiveUp("why"), None, None, SENT)
        assert type(error) is ServerDiedError
        assert str(error).startswith("10.0.0.1:80: closed")


class TestTheCallersOwn:
    def test_an_error_of_ours_gets_the_records(self) -> None:
        own = ContentError("the source failed")
        assert error_for((SENT,), GiveUp("why"), None, own) is own
        assert own.attempts == (SENT,)
        assert own.may_have_been_processed
        assert own.stage is Phase.WAITING

    def test_a_head_that_cannot_be_written_is_a_bad_request(self) -> None:
        record = replace(SENT, bytes_sent=0, verdict=Verdict.FAILED)
        error = error_for((record,), GiveUp("why"), None, ValueError("two Host fields"))
        assert type(error) is BadRequestError
        assert str(error) == "the request cannot be sent: two Host fields"
        assert error.attempts == (record,)
        assert not error.may_have_been_processed

    def test_anything_else_is_a_bug_and_is_not_dressed_up(self) -> None:
        own = ZeroDivisionError()
        assert error_for((SENT,), GiveUp("why"), None, own) is own


class TestUnconnected:
    @pytest.mark.parametrize(
        ("failures", "kind", "remedy"),
        [
            ([ConnectFailure.REFUSED], ConnectError, "Check that the server runs"),
            ([ConnectFailure.UNREACHABLE], ConnectError, "Check that the server runs"),
            ([ConnectFailure.LOCAL], ConnectError, "Check that the server runs"),
            ([ConnectFailure.NO_DESCRIPTOR], ConnectError, "Allow the process more descriptors"),
            ([ConnectFailure.OWN_DOOR], LoopError, "Name the servers themselves, not a listener"),
            ([ConnectFailure.OWN_DOOR, ConnectFailure.REFUSED], ConnectError, "Check that"),
            ([ConnectFailure.TIMED_OUT], ConnectTimeoutError, "Check routes and firewalls"),
            ([ConnectFailure.TIMED_OUT, ConnectFailure.REFUSED], ConnectError, "Check that"),
            ([ConnectFailure.TLS], TlsError, "Check that the port speaks TLS"),
            ([ConnectFailure.REFUSED, ConnectFailure.TLS], TlsError, "Check that the port"),
            ([ConnectFailure.TLS, ConnectFailure.CERTIFICATE], CertificateError, "Check the cert"),
            ([ConnectFailure.PROXY], ProxyError, "Check what the proxy allows"),
            ([ConnectFailure.PROXY_CREDENTIALS], ProxyCredentialsError, "Give the proxy's URL"),
        ],
        ids=lambda value: value.__name__ if isinstance(value, type) else None,
    )
    def test_the_failure_that_came_furthest_names_the_class(
        self, failures: list[ConnectFailure], kind: type[Error], remedy: str
    ) -> None:
        error = error_of(UNCONNECTED, reach=unreached(*map(failed, failures)))
        assert type(error) is kind
        assert error.remedy.startswith(remedy)
        assert error.stage is Phase.CONNECTING
        assert not error.may_have_been_processed

    def test_each_address_is_told_of_but_those_that_only_lost(self) -> None:
        reach = unreached(
            failed(ConnectFailure.REFUSED, detail="Connection refused"),
            failed(ConnectFailure.LOST, B),
            failed(ConnectFailure.TIMED_OUT, B, detail="no connection within 1 s"),
            errors=(NameTimeoutError("no name server answered"),),
        )
        assert error_of(UNCONNECTED, reach=reach).message == (
            "cannot connect to http://a.test: 10.0.0.1:80 refused after 0.25 s (Connection refused)"
            "; 10.0.0.2:80 timed out after 0.25 s; no name server answered"
        )

    def test_an_address_that_was_asked_again_is_told_once(self) -> None:
        reach = unreached(
            failed(ConnectFailure.TIMED_OUT, A),
            failed(ConnectFailure.REFUSED, B),
            failed(ConnectFailure.REFUSED, A),
        )
        assert reach.met.describe() == "10.0.0.1:80 refused, 10.0.0.2:80 refused"
        assert error_of(UNCONNECTED, reach=reach).message == (
            "cannot connect to http://a.test: 10.0.0.1:80 refused after 0.25 s; "
            "10.0.0.2:80 refused after 0.25 s"
        )

    @pytest.mark.parametrize(
        ("count", "words"),
        [
            (2, "http://u0, http://u1:"),
            (5, "http://u0, http://u1, http://u2, http://u3 and 1 more:"),
        ],
    )
    def test_every_url_is_named(self, count: int, words: str) -> None:
        urls = [f"http://u{number}/{path}" for number in range(count) for path in "xy"]
        reach = unreached(failed(ConnectFailure.REFUSED), urls=urls)
        assert error_of(UNCONNECTED, reach=reach).message.startswith(f"cannot connect to {words} ")

    def test_through_a_proxy_the_addresses_are_the_proxys(self) -> None:
        reach = unreached(failed(ConnectFailure.REFUSED), proxy="http://user:pass@p.test:3128/")
        assert error_of(UNCONNECTED, reach=reach).message == (
            "cannot connect to http://a.test through the proxy http://p.test:3128: "
            "10.0.0.1:80 refused after 0.25 s"
        )

    def test_where_there_was_no_address_the_names_are_to_blame(self) -> None:
        names = NameTimeoutError("no name server answered")
        record = replace(UNCONNECTED, phase=Phase.RESOLVING)
        assert error_of(record, reach=unreached(errors=(names,))) is names
        assert names.stage is Phase.RESOLVING

    @pytest.mark.parametrize("reach", [None, unreached()], ids=["nowhere", "no answer at all"])
    def test_or_nobody_is(self, reach: Reach | None) -> None:
        error = error_of(UNCONNECTED, reach=reach)
        assert type(error) is ConnectError
        assert error.message == "cannot connect to http://a.test: no address to connect to"
