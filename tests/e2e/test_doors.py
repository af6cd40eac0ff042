"""Who may use a door, against the daemon as a process: other users, as the kernel knows them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import needs_command
from tests.support.sidecar import Sidecar, sidecar
from tests.support.stage import Stage

pytestmark = needs_command

NOBODY, SOMEBODY = 65534, 54321


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="doors-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def curl(*words: str, uid: int | None = None) -> tuple[int, str]:
    """Exit code, and the status behind the content."""
    as_user = (
        [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    )
    ran = subprocess.run(
        [*as_user, "curl", "-sS", "-m", "20", "-w", "\n%{http_code}", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    return ran.returncode, ran.stdout


def knock(door: Sidecar, name: str, uid: int | None) -> tuple[int, str]:
    return curl("--unix-socket", str(door.folder / name), "http://orders.test/", uid=uid)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become others")
def test_a_unix_socket_for_one_user(stage: Stage, room: Path) -> None:
    guarded = {
        "bind": f"unix:{room / 'guarded'}",
        "target": "main",
        "socket_mode": "0666",
        "allow_uids": [NOBODY],
    }
    with sidecar(
        stage.places["URL"],
        folder=room,
        others={"listener.guarded": guarded},
        expected=["turned away"],
    ) as door:
        code, said = knock(door, "guarded", NOBODY)
        assert (code, said.splitlines()[-1]) == (0, "200"), said
        for uid in (SOMEBODY, 0):
            code, said = knock(door, "guarded", uid)
            assert (code, said.splitlines()[-1]) == (0, "403"), said
            assert f"user id {uid} may not use this door" in said
        lines = [line for line in door.stderr.splitlines() if "turned away" in line]
        assert len(lines) == 1, "one line each ten seconds"
        assert (
            f'listener=guarded client=unix why="user id {SOMEBODY} is not in allow_uids"'
            in lines[0]
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become others")
def test_a_unix_socket_by_its_mode(stage: Stage, room: Path) -> None:
    own = {"bind": f"unix:{room / 'own'}", "target": "main", "socket_mode": "0600"}
    with sidecar(stage.places["URL"], folder=room, others={"listener.own": own}) as door:
        code, said = knock(door, "own", NOBODY)
        assert code == 7, said
        code, said = knock(door, "own", 0)
        assert (code, said.splitlines()[-1]) == (0, "200"), said
