"""What is counted of exchanges that are over, and what a failover is."""

from __future__ import annotations

import timeit

import msgspec
import pytest
import trio
from trio.testing import MockClock

from haclient.ops.book import LAST_FAILOVERS, LONGEST, Book
from haclient.ops.status_report import FailoverReport
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.types import (
    AttemptRecord,
    ConnectFailure,
    ConnectionAttempt,
    Endpoint,
    Evidence,
    EvidenceKind,
    Origin,
    Phase,
    Verdict,
)

ORIGIN = Origin("http", "orders.internal", 8080)
A, B, C = (Endpoint(f"10.0.0.{number}", 8080) for number in (1, 2, 3))

ANSWER = AttemptRecord(
    1, ORIGIN, A, Phase.DONE, Verdict.ANSWERED, 100.0, 100.02, status=200, reused=True
)
SILENT = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)


def attempt(
    number: int,
    verdict: Verdict,
    started_at: float,
    ended_at: float,
    *,
    endpoint: Endpoint | None = A,
    evidence: Evidence | None = None,
    status: int | None = None,
    detail: str = "",
) -> AttemptRecord:
    return AttemptRecord(
        number,
        ORIGIN,
        endpoint,
        Phase.WAITING,
        verdict,
        started_at,
        ended_at,
        detail,
        evidence,
        status,
    )


def record(*attempts: AttemptRecord, **changes: object) -> ExchangeRecord:
    usual = ExchangeRecord(
        listener="door",
        target="orders",
        client="127.0.0.1:50312",
        request_id="7f3a",
        method="GET",
        path="/v1/orders/7",
        host="orders.internal",
        http_version="1.1",
        status=200,
        outcome=Outcome.ANSWERED,
        began_at=100.0,
        ended_at=100.02,
        attempts=attempts,
    )
    return msgspec.structs.replace(usual, **changes)


@pytest.fixture
def book() -> Book:
    return Book(lambda: 1_795_780_800_000_000_000)


async def test_a_request_that_was_answered_at_once(book: Book) -> None:
    book.tell(record(ANSWER))
    row, tally = book.rows["door", "orders"], book.tallies["orders"]

    assert row.requests == 1
    assert row.answered[2] == 1
    assert tally.answered == 1
    assert tally.verdicts.total() == 0
    assert tally.durations.total == pytest.approx(0.02)
    assert dict(zip(tally.durations.bounds, tally.durations.counts, strict=False))[0.025] == 1
    assert sum(tally.durations.counts) == 1
    assert sum(tally.connects.counts) == 0
    assert tally.resent == 0
    assert list(book.last_failovers) == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.OWN, 502),
        (Outcome.OWN, 400),
        (Outcome.BROKEN_OFF, 200),
        (Outcome.CLIENT_GONE, 0),
        (Outcome.TUNNELLED, 101),
    ],
)
async def test_what_else_a_client_may_get(book: Book, outcome: Outcome, status: int) -> None:
    book.tell(record(outcome=outcome, status=status))
    row = book.rows["door", "orders"]

    assert row.others == {(status // 100, outcome): 1}
    assert sum(row.answered) == 0
    assert row.requests == 1


async def test_a_tunnel_s_life_is_no_request_s_duration(book: Book) -> None:
    book.tell(record(outcome=Outcome.TUNNELLED, status=101, ended_at=9000.0))
    assert sum(book.tallies["orders"].durations.counts) == 0


async def test_what_is_longer_than_every_bound_is_counted_too(book: Book) -> None:
    book.tell(record(ANSWER, ended_at=200.0))
    assert book.tallies["orders"].durations.counts[-1] == 1


async def test_connections_that_came_to_be_used(book: Book) -> None:
    lost = ConnectionAttempt(A, 100.0, 100.01, failure=ConnectFailure.REFUSED)
    won = ConnectionAttempt(B, 100.0, 100.004, connected_at=100.003, usable_at=100.004)
    book.tell(
        record(msgspec.structs.replace(ANSWER, reused=False, connection_attempts=(lost, won)))
    )
    connects = book.tallies["orders"].connects

    assert sum(connects.counts) == 1
    assert connects.total == pytest.approx(0.004)


@pytest.mark.parametrize(
    ("failed", "resent_at", "took"),
    [
        # It thought for 27.5 s, which cost nobody anything; then it died.
        pytest.param(
            attempt(1, Verdict.DEAD, 100.0, 130.0, evidence=SILENT), 130.0, 2.5, id="dead"
        ),
        # A suspect goes on until another has answered; the resend was at the suspicion.
        pytest.param(
            attempt(
                1,
                Verdict.SUPERSEDED,
                100.0,
                104.0,
                evidence=Evidence(EvidenceKind.KEEPALIVE_PROBES, 1, 1.1),
            ),
            101.1,
            1.1,
            id="superseded",
        ),
        pytest.param(
            attempt(1, Verdict.DEAD, 100.0, 100.4, evidence=SILENT),
            100.4,
            0.4,
            id="before it began",
        ),
        pytest.param(attempt(1, Verdict.CLOSED, 100.0, 107.0), 107.001, 0.001, id="closed"),
        pytest.param(
            attempt(1, Verdict.CLOSED, 100.0, 107.0, evidence=Evidence(EvidenceKind.RESET, 0, 0.0)),
            107.001,
            0.001,
            id="reset",
        ),
        pytest.param(
            attempt(1, Verdict.ANSWERED, 100.0, 101.0, status=503), 100.5, 0.0, id="answered 503"
        ),
        pytest.param(
            attempt(1, Verdict.REFUSED, 100.0, 101.0, endpoint=None), 101.0, 1.0, id="refused"
        ),
        pytest.param(attempt(1, Verdict.SLOW, 100.0, 140.0), 140.0, 40.0, id="slow"),
    ],
)
async def test_how_long_a_failover_took(
    book: Book, failed: AttemptRecord, resent_at: float, took: float
) -> None:
    then = attempt(2, Verdict.ANSWERED, resent_at, resent_at + 5.0, endpoint=B, status=200)
    book.tell(record(failed, then, ended_at=resent_at + 5.0))
    tally = book.tallies["orders"]

    assert sum(tally.failovers.counts) == 1
    assert tally.failovers.total == pytest.approx(took)
    assert tally.resent == 1
    assert tally.answered + tally.verdicts.total() == 2


async def test_a_failover_is_told(book: Book, autojump_clock: MockClock) -> None:
    await trio.sleep(300)
    now = trio.current_time()
    reader = book.feed.join()
    failed = attempt(1, Verdict.DEAD, now - 4, now - 1.5, evidence=SILENT)
    then = attempt(2, Verdict.ANSWERED, now - 1.5, now - 1, endpoint=B, status=200)
    book.tell(
        record(failed, then, began_at=now - 4, ended_at=now - 1, path="/a\x1b?token=7&page=2")
    )

    told = FailoverReport(
        at=1_795_780_799.0,
        target="orders",
        method="GET",
        path="/a\\u001b?token=***&page=2",
        source="10.0.0.1:8080",
        to="10.0.0.2:8080",
        verdict="dead",
        evidence="3 keep-alive probes unanswered, silent for 2.50 s",
        seconds=2.5,
    )
    assert list(book.last_failovers) == [told]
    assert reader is not None
    assert msgspec.json.encode(told) in reader.take()


async def test_a_request_that_nobody_answered_is_told_and_is_no_failover(book: Book) -> None:
    one = attempt(1, Verdict.CLOSED, 100.0, 100.1, detail="closed before a response")
    two = attempt(2, Verdict.REFUSED, 100.1, 100.2, endpoint=None)
    book.tell(record(one, two, outcome=Outcome.OWN, status=502))

    (told,) = book.last_failovers
    assert (told.source, told.to, told.evidence) == (
        "10.0.0.1:8080",
        "",
        "closed before a response",
    )
    assert sum(book.tallies["orders"].failovers.counts) == 0
    assert book.tallies["orders"].resent == 1


async def test_a_suspect_that_answered_first_is_no_failover(book: Book) -> None:
    suspect = attempt(1, Verdict.ANSWERED, 100.0, 103.0, status=200)
    beside = attempt(2, Verdict.SUPERSEDED, 101.1, 103.0, endpoint=B)
    book.tell(record(suspect, beside))

    assert sum(book.tallies["orders"].failovers.counts) == 0
    assert book.tallies["orders"].resent == 1
    assert list(book.last_failovers) == []


async def test_the_answer_that_was_relayed_is_the_one_that_ended_last(book: Book) -> None:
    one = attempt(1, Verdict.ANSWERED, 100.0, 100.2, status=503)
    two = attempt(2, Verdict.ANSWERED, 100.2, 100.3, endpoint=B, status=503)
    three = attempt(3, Verdict.ANSWERED, 100.3, 100.9, endpoint=C, status=200)
    book.tell(record(one, two, three))

    (told,) = book.last_failovers
    assert (told.source, told.to) == ("10.0.0.1:8080", "10.0.0.3:8080")
    assert (told.verdict, told.evidence) == ("answered", "with 503")
    assert told.seconds == pytest.approx(0.3)


@pytest.mark.parametrize("verdict", [Verdict.DEAD, Verdict.SUPERSEDED, Verdict.CLOSED])
async def test_an_answer_that_went_on_from_another_server(book: Book, verdict: Verdict) -> None:
    broke_off = attempt(1, verdict, 100.0, 103.0, evidence=SILENT, status=200)
    rest = attempt(2, Verdict.ANSWERED, 103.0, 104.0, endpoint=B, status=206)
    book.tell(record(broke_off, rest))
    book.tell(record(attempt(1, Verdict.DEAD, 100.0, 103.0, evidence=SILENT), rest))

    assert book.tallies["orders"].resumes == 1
    assert sum(book.tallies["orders"].failovers.counts) == 2


async def test_the_last_failovers_are_bounded(book: Book) -> None:
    one = attempt(1, Verdict.CLOSED, 100.0, 100.1)
    two = attempt(2, Verdict.ANSWERED, 100.1, 100.2, endpoint=B, status=200)
    for number in range(LAST_FAILOVERS + 1):
        book.tell(record(one, two, path=f"/{number}"))

    assert len(book.last_failovers) == LAST_FAILOVERS
    assert book.last_failovers[-1].path == f"/{LAST_FAILOVERS}"


async def test_a_long_path_is_cut_once_its_secrets_are_masked(book: Book) -> None:
    one = attempt(1, Verdict.CLOSED, 100.0, 100.1)
    two = attempt(2, Verdict.ANSWERED, 100.1, 100.2, endpoint=B, status=200)
    path = "/?" + "x" * (LONGEST - 12) + "&token=secret&" + "y" * 9000
    book.tell(record(one, two, path=path, method="M" * 9000))

    (told,) = book.last_failovers
    assert len(told.path) == len(told.method) == LONGEST + 1
    assert told.path.endswith("x&token=***…")


async def test_what_a_reload_removed_is_forgotten(book: Book) -> None:
    book.tell(record(ANSWER))
    book.tell(record(ANSWER, listener="gone"))
    book.tell(record(ANSWER, target="gone"))
    book.tell(record(target="", outcome=Outcome.OWN, status=400))
    book.forget_others({"door"}, {"", "orders"})

    assert set(book.rows) == {("door", "orders"), ("door", "")}
    assert set(book.tallies) == {"orders", ""}


async def test_it_is_cheap(book: Book) -> None:
    usual = record(ANSWER)
    rounds = 2000
    best = min(timeit.repeat(lambda: book.tell(usual), number=rounds, repeat=20)) / rounds
    assert best < 4e-6
