"""`haclient passwd`: as a process, at a pipe and at a terminal."""

from __future__ import annotations

import fcntl
import os
import pkgutil
import pty
import select
import subprocess
import threading
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest
import trio

from haclient.net.users_file import read_users
from haclient.ops.command_line import CommandError
from haclient.ops.passwd import run
from tests.support.command import COMMAND, environment, haclient, needs_command
from tests.support.loopback import eventually

pytestmark = needs_command

IN_FORCE = b"; a daemon that runs knows it after 'haclient reload'\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def passwd(*words: object, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return haclient(["passwd", *map(str, words)], stdin=said)


def test_a_user_from_a_pipe(path: Path) -> None:
    ran = passwd(path, "ann", said=b"open sesame\nwhat else is said\n")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"ann: added" + IN_FORCE, b"")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_users(str(path)).verify("ann", "open sesame")
    assert b"sesame" not in path.read_bytes()


def test_another_password_and_one_user_less(path: Path) -> None:
    passwd(path, "ann", said=b"one\n")
    passwd(path, "bob", said=b"two\n")
    path.write_text("# people\n" + path.read_text())
    path.chmod(0o640)
    before = path.stat()

    assert passwd(path, "ann", said=b"three\n").stdout == b"ann: changed" + IN_FORCE
    users = read_users(str(path))
    assert users.verify("ann", "three")
    assert not users.verify("ann", "one")
    assert path.read_text().startswith("# people\n")
    assert (path.stat().st_mode, path.stat().st_uid) == (before.st_mode, before.st_uid)
    assert path.stat().st_ino != before.st_ino, "a new file in the place of the old one"

    assert passwd("--delete", path, "bob").stdout == b"bob: removed" + IN_FORCE
    assert list(read_users(str(path)).by_name) == ["ann"]
    assert os.listdir(path.parent) == ["users"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_owner_stays(path: Path) -> None:
    passwd(path, "ann", said=b"one\n")
    os.chown(path, 0, 54321)
    passwd(path, "bob", said=b"two\n")
    assert path.stat().st_gid == 54321


def test_a_link_stays_a_link(path: Path) -> None:
    passwd(path, "ann", said=b"one\n")
    link = path.parent / "link"
    link.symlink_to(path)
    passwd(link, "bob", said=b"two\n")
    assert link.is_symlink()
    assert list(read_users(str(path)).by_name) == ["ann", "bob"]


@pytest.mark.parametrize("moment", ["fcntl.flock", "haclient.core.users.with_user"])
def test_a_link_that_is_swapped_mixes_no_two_files(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is locked is what is read, and what is read is what is written, wherever the link leads meanwhile."""
    one, two, link = (tmp_path / name for name in ("one", "two", "link"))
    for each, names in ((one, ("ann", "bob")), (two, ("zed",))):
        for name in names:
            passwd(each, name, said=b"x\n")
    before = two.read_bytes()
    link.symlink_to(one)

    def swap(*arguments: object) -> object:
        link.unlink()
        link.symlink_to(two)
        monkeypatch.undo()
        return original(*arguments)

    original = pkgutil.resolve_name(moment)
    monkeypatch.setattr(moment, swap)
    assert run(["--delete", str(link), "ann"]) == 0
    assert list(read_users(str(one)).by_name) == ["bob"]
    assert two.read_bytes() == before
    assert link.readlink() == two


def under(wrapper: list[str], *words: object) -> subprocess.CompletedProcess[bytes]:
    """The command, started by another one."""
    command = [*wrapper, str(COMMAND), "passwd", *map(str, words)]
    return subprocess.run(
        command, input=b"x\n", capture_output=True, check=False, timeout=30, env=environment()
    )


@pytest.mark.parametrize("is_there", [False, True])
def test_what_was_made_for_the_lock_goes_where_nothing_was_written(
    path: Path, is_there: bool
) -> None:
    """No byte of any file can be written, as on a full disk."""
    if is_there:
        path.touch(0o600)
    ran = under(["sh", "-c", 'ulimit -f 0; exec "$@"', "sh"], path, "ann")
    assert (ran.returncode, ran.stdout) == (23, b"")
    assert ran.stderr.endswith(b"/users cannot be written: File too large\n")
    assert os.listdir(path.parent) == ["users"] * is_there


def test_a_file_that_may_only_be_read_is_changed(path: Path) -> None:
    """It is replaced, and that is the folder's to allow."""
    passwd(path, "ann", said=b"one\n")
    path.chmod(0o400)
    # Without the privilege of root to write what may only be read.
    as_others = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    assert under(as_others, path, "bob").returncode == 0
    assert path.stat().st_mode & 0o777 == 0o400
    assert list(read_users(str(path)).by_name) == ["ann", "bob"]


def held(path: Path, how: int) -> BinaryIO:
    """The file, with a lock on it; whoever may read it can have that."""
    file = path.open("rb")
    fcntl.flock(file, how)
    return file


async def test_the_lock_is_one_that_nfs_grants(path: Path) -> None:
    """There, flock(2) is a lock of bytes, which wants a descriptor that may write."""
    await trio.to_thread.run_sync(lambda: passwd(path, "ann", said=b"one\n"))
    said = path.with_name("said")
    async with trio.open_nursery() as nursery:
        with held(path, fcntl.LOCK_EX), said.open("wb") as stderr:
            process = await nursery.start(
                partial(trio.run_process, stdin=b"two\n", stderr=stderr, env=environment()),
                [COMMAND, "passwd", path, "bob"],
            )
            await eventually(lambda: b"waiting for it" in said.read_bytes(), 20.0)
            assert access_to(path, process.pid) == os.O_RDWR
    assert list(read_users(str(path)).by_name) == ["ann", "bob"]


@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_a_lock_that_is_never_let_go(
    path: Path, how: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passwd(path, "ann", said=b"one\n")
    before = path.read_bytes()
    monkeypatch.setattr("haclient.ops.passwd.TOLD_AFTER", 0.1)
    monkeypatch.setattr("haclient.ops.passwd.LONGEST_WAIT", 0.3)
    with held(path, how), pytest.raises(CommandError) as caught:
        run(["--delete", str(path), "ann"])
    assert caught.value.exit_code == 23
    assert str(caught.value) == (
        f"{path} cannot be written: another process has held its lock for 0.3 s; "
        f"'fuser -v {path}' names it"
    )
    assert capsys.readouterr() == (
        "",
        f"haclient: another process holds the lock of {path}; waiting for it, 0.3 s at the most\n",
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize(("told_after", "is_told"), [(0.0, True), (30.0, False)])
def test_a_lock_that_is_let_go(
    path: Path,
    told_after: float,
    is_told: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    passwd(path, "ann", said=b"one\n")
    monkeypatch.setattr("haclient.ops.passwd.TOLD_AFTER", told_after)
    with held(path, fcntl.LOCK_EX) as file:
        monkeypatch.setattr("time.sleep", lambda _: fcntl.flock(file, fcntl.LOCK_UN))
        assert run(["--delete", str(path), "ann"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "ann: removed" + IN_FORCE.decode()
    assert shown.err.endswith("30 s at the most\n") == is_told
    assert shown.err.count("\n") == is_told
    assert b"ann" not in path.read_bytes()


def access_to(path: Path, pid: int) -> int:
    """How a process has a file open."""
    (descriptor,) = (one for one in Path(f"/proc/{pid}/fd").iterdir() if one.resolve() == path)
    text = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
    return int(text.split("flags:")[1].split()[0], 8) & os.O_ACCMODE


def change(path: Path, name: str, count: int, done: list[int]) -> None:
    """Some users more, one after another, each by a process of its own."""
    done.extend(passwd(path, f"{name}{each}", said=b"x\n").returncode for each in range(count))


@pytest.mark.parametrize(("is_there", "count"), [(True, 20), (False, 3)])
def test_of_two_at_once_no_change_is_lost(path: Path, is_there: bool, count: int) -> None:
    """Each change is of the file as it is then, not as it was while the password was typed."""
    if is_there:
        passwd(path, "ann", said=b"one\n")
    done: list[int] = []
    both = [threading.Thread(target=change, args=(path, name, count, done)) for name in ("a", "b")]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert done == [0] * 2 * count
    expected = {f"{name}{each}" for name in ("a", "b") for each in range(count)}
    assert set(read_users(str(path)).by_name) == expected | ({"ann"} if is_there else set())
    assert os.listdir(path.parent) == ["users"], "no litter"


def test_a_change_while_another_types_his_password(path: Path) -> None:
    passwd(path, "ann", said=b"one\n")
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [COMMAND, "passwd", path, "bob"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(),
            start_new_session=True,
        )
        _dialogue(ours, [(b"Password: ", b"two\n")])
        assert passwd("--delete", path, "ann").returncode == 0
        _dialogue(ours, [(b"Again: ", b"two\n")])
        assert process.wait(20) == 0
    finally:
        os.close(ours)
        os.close(theirs)
    assert list(read_users(str(path)).by_name) == ["bob"]


@pytest.mark.parametrize(
    ("words", "said", "code", "message"),
    [
        (["users", "a:b"], b"x\n", 2, b"a user's name is without colons"),
        (["users", "ann"], b"\n", 2, b"a password has 1 to 1024 bytes"),
        (["users", "ann"], b"", 2, b"a password has 1 to 1024 bytes"),
        (["users", "ann"], b"\xff\n", 2, b"a password is UTF-8"),
        (["users"], b"x\n", 2, b"USER"),
        (["users", "ann", "secret"], b"x\n", 2, b"unrecognized arguments"),
        (["nowhere/users", "ann"], b"x\n", 23, b"nowhere/users cannot be written: No such file"),
        (["--delete", "users", "ann"], b"", 78, b"users cannot be read: No such file"),
        (["open", "ann"], b"x\n", 78, b"open has mode 0644: everybody can read it"),
        (["broken", "ann"], b"x\n", 78, b"/broken, line 1: there is no colon"),
        (["--delete", "full", "eve"], b"", 2, b"has no user 'eve'; nothing was changed"),
    ],
)
def test_what_is_refused(
    words: list[str], said: bytes, code: int, message: bytes, tmp_path: Path
) -> None:
    passwd(tmp_path / "full", "ann", said=b"x\n")
    for name, text, mode in (("open", "", 0o644), ("broken", "ann", 0o600)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    before = {each.name: each.read_text() for each in tmp_path.iterdir()}
    at = 1 if words[0].startswith("--") else 0
    words[at] = str(tmp_path / words[at])
    ran = passwd(*words, said=said)

    assert (ran.returncode, ran.stdout) == (code, b"")
    assert message in ran.stderr
    assert ran.stderr.count(b"\n") == 1
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("again", "code", "is_there"), [(b"open sesame\n", 0, True), (b"open\n", 2, False)]
)
def test_at_a_terminal(path: Path, again: bytes, code: int, is_there: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [COMMAND, "passwd", path, "ann"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(),
            start_new_session=True,
        )
        shown = _dialogue(ours, [(b"Password: ", b"open sesame\n"), (b"Again: ", again)])
        assert process.wait(20) == code
        shown += os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"sesame" not in shown, "no echo"
    assert path.exists() == is_there
    if is_there:
        assert read_users(str(path)).verify("ann", "open sesame")


def _dialogue(terminal: int, lines: list[tuple[bytes, bytes]]) -> bytes:
    shown = b""
    for asked, said in lines:
        while asked not in shown:
            assert select.select([terminal], [], [], 20)[0], shown
            shown += os.read(terminal, 4096)
        os.write(terminal, said)
    return shown
