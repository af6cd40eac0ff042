"""The benches of docs/performance.md still run, each as small as it can be.

Their figures come from runs in full on a quiet machine. Here it is only to be seen that each rig stands, that the
faults strike, and that every row is there; nothing is said about speed, so a bench that ends with 1 because a bound
was missed is well. Left out: those that take more than ten seconds at the least (affinity, dns_dead, sidecar_restart),
and sidecar_cost, which needs wrk. The abuses, the soak and the peers have tests of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import needs_command

pytestmark = needs_command

ROOT = Path(__file__).parents[2]

SMALL = {
    "door_tls": ("--connections 3 --requests 5 --mebibytes 1 --rounds 1", [
        "plain", "TLS", "TLS, client certificate",
    ]),
    "engine_cost": ("--rounds 1 --requests 10", ["trio \\+ h11 by hand", "haclient", "httpx"]),
    "failover": ("--runs 1 --only alive", [
        "three alive .*\\| 0 +\\| 0 ", "every address refused, backup alive .*\\| 0 +\\| 0 ",
    ]),
    "failover --through sidecar": ("--runs 1 --only killed", ["server process killed .*\\| 0 +\\| 0 "]),
    "failover --through forward": ("--runs 1 --only killed", [
        "server process killed .*\\| 0 +\\| 0 ", "tunnel, server process killed .*\\| 0 +\\| 0 ",
    ]),
    "guessers": ("--connections 0 5 --requests 10 --rounds 1", ["0 .*\\| 0 +\\| 0 ", "5 "]),
    "log_cost": ("--rounds 1", ["access, text, one attempt", "the same by logging"]),
    "sidecar_bulk": ("--mebibytes 8 --stall 0.2", [
        f"{way}, {framing} .*\\| yes " for way in ("down", "up") for framing in ("counted", "chunked")
    ]),
    "sidecar_outstanding": ("--requests 20", ["answered +\\| 20 of 20 ", "resent to the other one"]),
    "sidecar_resume": ("--megabytes 2 --runs 1", [
        "1 +\\| 2000000 +\\| yes +\\| none ", "1 +\\| [0-9]+ +\\| no +\\| broken off ",
    ]),
    "tcp_bulk": ("--mebibytes 1 --rounds 1", ["haclient", "HAProxy +\\|", "HAProxy, always splicing"]),
    "tcp_failover": ("--runs 1 --only killed", ["server process killed, answer owed .*\\| 0 +\\| 1 "]),
    "tcp_failover, alive": ("--runs 1 --only alive", [
        "three alive .*\\| 1 +\\| 0 ", "every address refused, backup alive .*\\| 1 +\\| 0 ",
    ]),
}  # fmt: skip
"""Its arguments, and the beginnings of rows that have to be there, as patterns."""

NEEDS = {"tcp_bulk": "haproxy"}


@pytest.mark.parametrize("name", SMALL)
def test_a_bench_in_small(name: str) -> None:
    bench, _, more = name.partition(",")[0].partition(" ")
    need(NEEDS.get(bench))
    small, rows = SMALL[name]
    printed = run(bench, *more.split(), *small.split())
    for row in rows:
        assert re.search(rf"^\| {row}", printed, re.MULTILINE), (row, printed)


@pytest.mark.netns
@pytest.mark.parametrize("through", ["tcp", "connect"])
def test_idle_tunnels_in_small(through: str) -> None:
    if os.geteuid() != 0 and os.environ.get("CI") != "true":
        pytest.skip("needs root, for a network namespace")
    printed = run("tcp_idle", "--tunnels", "50", "--seconds", "0.2", "--through", through)
    assert re.search(r"^\| [0-9.]+ +\| 12 +\| 0 ", printed, re.MULTILINE), printed


def need(program: str | None) -> None:
    """In CI everything is there."""
    found = program is None or shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if not found and os.environ.get("CI") != "true":
        pytest.skip(f"{program} is not installed")


def run(bench: str, *words: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{bench}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stderr
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.stdout
