"""The bench beside other proxies still runs: two of its rows, with ours and, if it is there, HAProxy.

Its figures are for docs/performance.md and come from a run of all rows; here it is only to be seen
that the rig stands, that the faults strike, and that the table says what the servers saw.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.support.command import needs_command
from tests.support.netns import why_not

pytestmark = [pytest.mark.netns, needs_command]

ROOT = Path(__file__).parents[2]
ROWS = "killed|before the request, cold"


@pytest.fixture(scope="module")
def printed() -> str:
    reason = trio.run(why_not)
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    command = [sys.executable, "-m", "tests.bench.peers", "--runs", "1", "--only", ROWS]
    ran = subprocess.run(
        [*command, "--proxy", "haclient,relay,HAProxy fast"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def passed(printed: str, proxy: str) -> str:
    """From the table of what each configuration passes."""
    found = re.search(rf"^\| {proxy} +\| (\d+ of \d+) ", printed, re.MULTILINE)
    assert found is not None, printed
    return found[1]


def test_ours_passes(printed: str) -> None:
    assert passed(printed, "haclient") == "2 of 2"


def test_a_relay_without_failover_loses_the_request(printed: str) -> None:
    assert passed(printed, "relay") == "1 of 2"
    assert "NO: closed" in printed


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
def test_a_peer_passes_too(printed: str) -> None:
    assert passed(printed, "HAProxy fast") == "2 of 2"
