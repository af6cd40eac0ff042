"""The installed command as a process: what a user starts, and what comes back.

    ran = haclient(["request", "-sS", url], cwd=tmp_path)
    ran.returncode, ran.stdout, ran.stderr

Its environment is empty but for what is given, so that no proxy, colour or traceback setting of
whoever runs the tests has a say.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

__all__ = ["COMMAND", "environment", "haclient", "needs_command"]

COMMAND = Path(sys.executable).with_name("haclient")
"""Beside the interpreter that runs the tests: installed with this very tree."""

needs_command = pytest.mark.skipif(
    not COMMAND.exists(), reason="the command is not installed beside this Python"
)

KEPT = ("PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE")


def environment(**variables: str) -> dict[str, str]:
    """The command's: nothing of ours but where modules are, and what coverage of a child needs."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        **kept,
        **variables,
    }


def haclient(
    words: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    stdin: bytes = b"",
    variables: Mapping[str, str] | None = None,
    timeout: float = 30,
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command to its end."""
    return subprocess.run(
        [COMMAND, *words],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=timeout,
        env=environment(**(variables or {})),
    )
