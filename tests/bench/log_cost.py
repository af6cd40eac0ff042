"""What a line of the daemon's logs costs: microseconds of one core, to /dev/null.

    python -m tests.bench.log_cost [--rounds 7]

The best of the rounds, for whatever else the machine does only adds. The limit is that of the access
line with one attempt, which each request pays; `logging` is there to compare with.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from timeit import repeat
from typing import TextIO

from haclient.core.config import LogSettings
from haclient.ops.access_log import AccessLog
from haclient.ops.log import Log
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.types import AttemptRecord, Endpoint, Evidence, EvidenceKind, Origin, Phase, Verdict
from tests.bench.tables import print_table

CALLS = 20_000

LIMIT = 8.0
"""Microseconds; a request through the daemon takes some 200."""

ORIGIN = Origin("http", "orders.internal", 8080)

ANSWERED = AttemptRecord(
    number=1,
    origin=ORIGIN,
    endpoint=Endpoint("10.0.0.3", 8080),
    phase=Phase.DONE,
    verdict=Verdict.ANSWERED,
    started_at=100.0002,
    ended_at=100.0041,
    status=200,
    reused=True,
)

DIED = AttemptRecord(
    number=1,
    origin=ORIGIN,
    endpoint=Endpoint("10.0.0.2", 8080),
    phase=Phase.WAITING,
    verdict=Verdict.DEAD,
    started_at=100.0,
    ended_at=102.51,
    evidence=Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.51),
)


def record(*attempts: AttemptRecord, path: str = "/v1/orders/7?page=2") -> ExchangeRecord:
    """An exchange that was answered."""
    return ExchangeRecord(
        listener="orders",
        target="orders",
        client="127.0.0.1:50312",
        request_id="0f3a5c7e9b1d2f4a6c8e0b2d4f6a8c0e",
        method="GET",
        path=path,
        host="orders.internal:8080",
        http_version="1.1",
        status=200,
        outcome=Outcome.ANSWERED,
        began_at=100.0,
        ended_at=100.0043,
        head_at=100.0041,
        response_bytes=512,
        attempts=attempts,
    )


def best(call: Callable[[], object], rounds: int) -> float:
    """Microseconds a call."""
    return min(repeat(call, number=CALLS, repeat=rounds)) / CALLS * 1e6


def rows(null: TextIO) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    log = Log(LogSettings(), null, under_journal=False)
    text = AccessLog(log)
    json = AccessLog(Log(LogSettings(format="json"), null, under_journal=False))
    one, two = record(ANSWERED), record(DIED, ANSWERED)
    secret = record(ANSWERED, path="/v1/orders/7?page=2&access_token=abc")
    standard = logging.getLogger("haclient.bench")
    standard.setLevel(logging.INFO)
    standard.propagate = False
    handler = logging.StreamHandler(null)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    standard.addHandler(handler)
    return {
        "access, text, one attempt": lambda: text(one),
        "access, text, two attempts": lambda: text(two),
        "access, text, a secret in the query": lambda: text(secret),
        "access, JSON, one attempt": lambda: json(one),
        "a line with two fields": lambda: log.info("listening", name="orders", bind="unix:/x"),
        "the same by logging": lambda: standard.info("listening name=%s bind=%s", "orders", "u:/x"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with open("/dev/null", "w") as null:
        costs = {name: best(call, rounds) for name, call in rows(null).items()}
    print_table(
        f"A log line, best of {rounds} x {CALLS} (limit for the first: {LIMIT:.0f} µs)",
        ["line", "µs"],
        [[name, f"{cost:.1f}"] for name, cost in costs.items()],
    )


if __name__ == "__main__":
    main()
