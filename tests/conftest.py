"""What every test stands under: Hypothesis profiles, and no descriptor left behind."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("nightly", max_examples=5000, deadline=None)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev")
)

# A job in the background of a script has SIGINT ignored, and so would the commands that tests start
# and end with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def sigint_is_as_it_was() -> Iterator[None]:
    """What a test runs in this process may ignore SIGINT; commands started later would inherit that."""
    before = signal.getsignal(signal.SIGINT)
    yield
    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)


NOBODY = 65534


@pytest.fixture
def private_file() -> Iterator[Path]:
    """A file that this process may not read, also where the tests run as root."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "private"
        path.touch(0o000)
        if os.geteuid() != 0:
            yield path
            return
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield path
        finally:
            os.setresuid(0, 0, 0)


DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture(autouse=True)
def no_descriptor_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A socket that a test, or the code under it, forgot fails that test."""
    if not DESCRIPTORS.exists() or not {"loopback", "e2e"} & set(request.path.parts):
        yield
        return
    before = len(os.listdir(DESCRIPTORS))
    yield
    after = len(os.listdir(DESCRIPTORS))
    if after > before:
        gc.collect()  # a reference cycle of an exception's traceback is no leak
        after = len(os.listdir(DESCRIPTORS))
    assert after <= before, f"{after - before} descriptors were left open"
