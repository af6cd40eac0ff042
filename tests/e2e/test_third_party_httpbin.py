"""httpbin behind gunicorn, with httpbin's own tests: they pass through the sidecar as without it.

The tests are in httpbin's source distribution alone. It is had from the package index at the time
of the test, by the version and the hash that requirements-dev.lock holds; nothing of it is built or
installed. Where the index cannot be reached the test is skipped, and in CI it fails.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import needs_command
from tests.support.sidecar import sidecar

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements-dev.lock"

FAIL_DIRECTLY = {
    # Written for Flask's own client, where chunked content is refused with 501; gunicorn takes it.
    "test_post_chunked",
}

TESTS = 70
"""In version 0.10.4; fewer would say that the suite was not found whole."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file test_httpbin.py."""
    folder = tmp_path_factory.mktemp("httpbin")
    pinned = re.search(r"^httpbin==(?:.*\\\n)+.*\n", LOCK.read_text(), re.MULTILINE)
    assert pinned is not None
    (folder / "pinned").write_text(pinned[0])
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    how = ["--no-binary", "httpbin", "--no-build-isolation", "--dest", str(folder)]
    ran = subprocess.run(
        [*download, *how, "-r", folder / "pinned"], capture_output=True, text=True, check=False
    )
    if ran.returncode != 0 and os.environ.get("CI") != "true":
        pytest.skip(f"httpbin's sources cannot be had: {ran.stderr.strip()[-200:]}")
    assert ran.returncode == 0, ran.stderr
    (sources,) = folder.glob("httpbin-*.tar.gz")
    with tarfile.open(sources) as archive:
        (name,) = [each for each in archive.getnames() if each.endswith("/test_httpbin.py")]
        content = archive.extractfile(name)
        assert content is not None
        (folder / "test_httpbin.py").write_bytes(content.read())
    return folder / "test_httpbin.py"


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """httpbin behind gunicorn; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "log").open("wb") as log:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        bind = ["--bind", f"fd://{listener.fileno()}", "--no-control-socket"]
        gunicorn = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--threads", "8", *bind, "httpbin:app"],
            pass_fds=[listener.fileno()],
            stderr=log,
        )
        try:
            yield url
        finally:
            gunicorn.terminate()
            assert gunicorn.wait(20) == 0


def started(suite: Path, url: str) -> subprocess.Popen[bytes]:
    """The suite against a server, as a process."""
    command = [sys.executable, "-m", "tests.support.httpbin_suite", str(suite), url]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def outcomes(run: subprocess.Popen[bytes]) -> dict[str, str]:
    """What it printed at its end."""
    printed, _ = run.communicate(timeout=60)
    found: dict[str, str] = json.loads(printed)
    return found


def test_the_suite_passes_directly(suite: Path, origin: str) -> None:
    found = outcomes(started(suite, origin))
    assert {name for name, outcome in found.items() if outcome != "ok"} == FAIL_DIRECTLY
    assert len(found) == TESTS


@needs_command
def test_the_suite_passes_through_the_sidecar(suite: Path, origin: str) -> None:
    with sidecar(origin) as door:
        found = outcomes(started(suite, door.url))
    failed = {name: outcome for name, outcome in found.items() if outcome != "ok"}
    assert set(failed) == FAIL_DIRECTLY, failed
    assert len(found) == TESTS
