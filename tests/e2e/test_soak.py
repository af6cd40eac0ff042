"""The soak in short: what runs for ten minutes by hand runs for 45 seconds here, from one seed.

python -m tests.bench.soak --seconds 600 --seed 1
"""

from __future__ import annotations

import pytest
import trio

from tests.bench.soak.history import Ended
from tests.bench.soak.run import soak
from tests.support.command import needs_command

pytestmark = needs_command

SECONDS, SEED, RATE = 45.0, 7, 12.0


@pytest.mark.timeout(300)
def test_no_promise_is_broken_under_random_faults() -> None:
    report = trio.run(soak, SECONDS, SEED, RATE)

    faults = list(report.faults())
    assert not faults, "\n\n".join([f"seed {SEED}, {len(faults)} faults", *faults[:5]])
    # And it was a soak: of each kind some were answered, many things were done to the servers, and
    # some requests were saved from it.
    kinds = set(report.history.kinds()) - {"truncated"}
    assert len(kinds) == 10
    assert all(report.history.ends(kind)[Ended.OK] for kind in kinds)
    assert len(report.done) >= 5
    assert report.history.resent() > 0
