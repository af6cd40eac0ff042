"""The state file on a real file system: whose it may be, how it is written, what becomes of a bad one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from haclient.core.saved_names import MAX_BYTES, SavedName, saved_names_text
from haclient.net.state_file import AT_LEAST, LATER, SOON, StateFile, StateFileTrouble

NOW = 1_790_000_000.0
HOUR = 3600.0
NAMES = {"orders.internal": SavedName(("10.0.0.2",), NOW - 60)}
OTHERS = {"other.internal": SavedName(("10.0.0.3",), NOW)}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")


class Room:
    """A folder, and what is told about the file in it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "names.json"
        self.names: Mapping[str, SavedName] = NAMES
        self.told: list[StateFileTrouble] = []

    def file(self, path: Path | None = None) -> StateFile:
        return StateFile(
            str(path or self.path), lambda wall_now: self.names, self.told.append, lambda: NOW
        )

    def read(self) -> dict[str, SavedName]:
        return self.file().read(HOUR)

    @property
    def details(self) -> list[str]:
        assert all(each.path == str(self.path) for each in self.told)
        return [each.detail for each in self.told]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    room = Room(tmp_path)
    room.path.write_bytes(saved_names_text(NAMES))
    room.path.chmod(0o600)
    return room


class TestReading:
    def test_what_was_saved(self, room: Room) -> None:
        assert room.read() == NAMES
        assert room.told == []

    def test_no_file_is_nothing_to_tell(self, room: Room) -> None:
        room.path.unlink()
        assert room.read() == {}
        assert room.told == []

    def test_what_is_too_old_is_passed_over(self, room: Room) -> None:
        assert room.file().read(60) == {}
        assert room.told == []

    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            pytest.param(lambda path: path.chmod(0o620), "others may write it (mode 0620)", id="group"),
            pytest.param(lambda path: path.chmod(0o602), "others may write it (mode 0602)", id="world"),
            pytest.param(lambda path: os.truncate(path, MAX_BYTES + 1), "are the most", id="huge"),
            pytest.param(lambda path: _replace_by(path, path.mkdir), "is a directory", id="folder"),
            pytest.param(lambda path: _replace_by(path, lambda: os.mkfifo(path)), "not a regular file", id="pipe"),
            pytest.param(lambda path: _link(path), "too many levels of symbolic links", id="symlink"),
            pytest.param(lambda path: os.chown(path, 65534, -1), "belongs to user 65534, and this is user 0", id="another user's", marks=needs_root),
        ],
    )  # fmt: skip
    def test_a_file_that_is_not_to_be_trusted_is_left_alone(
        self, room: Room, spoil: Callable[[Path], None], why: str
    ) -> None:
        spoil(room.path)
        before = room.path.lstat()
        file = room.file()
        assert file.read(HOUR) == {}
        (detail,) = room.details
        assert why in detail
        assert "it is not used: remove it, or name another one" in detail
        file.changed(0.0, is_urgent=True)
        file.stop()
        after = room.path.lstat()
        assert (after.st_ino, after.st_mode, after.st_size) == (
            before.st_ino,
            before.st_mode,
            before.st_size,
        )
        assert len(room.told) == 1

    def test_others_may_read_it(self, room: Room) -> None:
        room.path.chmod(0o644)
        assert room.read() == NAMES

    @pytest.mark.parametrize("content", [b"", b"\0" * 64, b"{}", b'{"version":2,"names":{}}'])
    def test_what_does_not_parse_is_set_aside_and_said(self, room: Room, content: bytes) -> None:
        room.path.write_bytes(content)
        file = room.file()
        assert file.read(HOUR) == {}
        (detail,) = room.details
        assert detail.startswith("it cannot be understood (")
        assert detail.endswith(f"); it is now {room.path}.bad")
        assert Path(f"{room.path}.bad").read_bytes() == content
        assert not room.path.exists()
        file.changed(0.0, is_urgent=True)
        file.stop()
        assert room.read() == NAMES

    def test_a_name_that_is_not_as_we_write_it_is_left_out_and_said(self, room: Room) -> None:
        room.path.write_bytes(saved_names_text({**NAMES, "X": NAMES[next(iter(NAMES))]}))
        assert room.read() == NAMES
        (detail,) = room.details
        assert detail == "1 of its names left out: 'X' is not a host name as it is written here"

    def test_what_cannot_be_set_aside_either_is_left_alone(self, room: Room) -> None:
        room.path.write_bytes(b"garbage")
        aside = Path(f"{room.path}.bad")
        aside.mkdir()
        (aside / "something").touch()
        assert room.read() == {}
        (detail,) = room.details
        assert "nor set aside" in detail
        assert room.path.read_bytes() == b"garbage"


def _replace_by(path: Path, make: Callable[[], object]) -> None:
    path.unlink()
    make()


def _link(path: Path) -> None:
    real = path.with_suffix(".real")
    path.rename(real)
    path.symlink_to(real)


class TestWriting:
    def test_at_the_end_what_is_new_is_written_whole_and_for_us_alone(self, room: Room) -> None:
        inode = room.path.stat().st_ino
        room.names = OTHERS
        file = room.file()
        file.stop()
        assert room.read() == NAMES  # nothing was new
        file.changed(0.0, is_urgent=False)
        file.stop()
        assert room.read() == OTHERS
        assert room.path.stat().st_mode & 0o7777 == 0o600
        assert room.path.stat().st_ino != inode
        assert os.listdir(room.path.parent) == ["names.json"]
        room.names = NAMES
        file.stop()
        assert room.read() == OTHERS

    def test_the_new_file_is_nobody_elses_from_its_first_moment(self, room: Room) -> None:
        before = os.umask(0)
        try:
            file = room.file()
            file.changed(0.0, is_urgent=True)
            file.stop()
        finally:
            os.umask(before)
        assert room.path.stat().st_mode & 0o7777 == 0o600

    def test_what_a_killed_process_left_is_no_obstacle(self, room: Room) -> None:
        Path(f"{room.path}.{os.getpid()}.new").write_text("half")
        room.names = OTHERS
        file = room.file()
        file.changed(0.0, is_urgent=True)
        file.stop()
        assert room.read() == OTHERS
        assert room.told == []

    def test_a_link_in_the_new_files_place_is_not_followed(self, room: Room) -> None:
        victim = room.path.with_suffix(".victim")
        victim.write_text("mine")
        Path(f"{room.path}.{os.getpid()}.new").symlink_to(victim)
        file = room.file()
        file.changed(0.0, is_urgent=True)
        file.stop()
        assert victim.read_text() == "mine"

    def test_a_relative_path(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(room.path.parent)
        file = room.file(Path("relative.json"))
        file.changed(0.0, is_urgent=True)
        file.stop()
        assert Path("relative.json").exists()

    def test_a_disk_that_takes_nothing_is_told_once_and_the_old_file_stays(
        self, room: Room
    ) -> None:
        folder = room.path.parent / "later"
        file = StateFile(str(folder / "x"), lambda wall_now: NAMES, room.told.append, lambda: NOW)
        for _ in range(3):
            file.changed(0.0, is_urgent=True)
            file.stop()
        assert [each.detail for each in room.told] == [
            "it cannot be written: no such file or directory"
        ]
        folder.mkdir()
        file.changed(0.0, is_urgent=True)
        file.stop()
        (folder / "x").unlink()
        folder.rmdir()
        file.changed(0.0, is_urgent=True)
        file.stop()
        assert len(room.told) == 2  # it had been well in between

    def test_repr(self, room: Room) -> None:
        assert repr(room.file()) == f"<StateFile {room.path}>"


class TestHowOften:
    """On a clock that stands: no jump may come between an order to the thread that writes and its work."""

    async def test_news_soon_and_then_no_more_often_than_it_may(
        self, mock_clock: MockClock, room: Room
    ) -> None:
        file = room.file()
        written = Writings(room, mock_clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.keep)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                file.changed(trio.current_time(), is_urgent=True)
                await written.by(trio.current_time() + SOON / 4)
            assert await written.by(SOON) == [SOON]
            file.changed(trio.current_time(), is_urgent=True)
            assert await written.by(SOON + AT_LEAST) == [SOON, SOON + AT_LEAST]
            nursery.cancel_scope.cancel()
        assert room.told == []

    async def test_a_mere_confirmation_may_wait_and_news_go_before_it(
        self, mock_clock: MockClock, room: Room
    ) -> None:
        file = room.file()
        written = Writings(room, mock_clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.keep)
            await trio.testing.wait_all_tasks_blocked()
            file.changed(0.0, is_urgent=False)
            assert await written.by(SOON) == [SOON]
            file.changed(2.0, is_urgent=False)
            assert await written.by(SOON + LATER - 1) == [SOON]
            assert await written.by(SOON + LATER) == [SOON, SOON + LATER]
            file.changed(70.0, is_urgent=False)
            file.changed(71.0, is_urgent=True)
            assert (await written.by(75.0))[2:] == [72.0]
            nursery.cancel_scope.cancel()

    async def test_a_refused_file_is_never_written(self, mock_clock: MockClock, room: Room) -> None:
        room.path.chmod(0o666)
        beside = room.path.with_name("beside.json")
        file, another = room.file(), room.file(beside)
        assert file.read(HOUR) == {}
        inode = room.path.stat().st_ino
        async with trio.open_nursery() as nursery:
            for each in (file, another):
                nursery.start_soon(each.keep)
            await trio.testing.wait_all_tasks_blocked()
            for each in (file, another):
                each.changed(0.0, is_urgent=True)
            mock_clock.jump(100)
            await no_more_writing()
            nursery.cancel_scope.cancel()
        assert beside.exists()
        assert room.path.stat().st_ino == inode

    async def test_nothing_is_written_after_the_end(
        self, mock_clock: MockClock, room: Room
    ) -> None:
        file = room.file()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.keep)
            await trio.testing.wait_all_tasks_blocked()
            file.stop()
        inode = room.path.stat().st_ino
        assert room.read() == NAMES
        assert room.path.stat().st_ino == inode


class Writings:
    """Notes at which instants the file became another one."""

    def __init__(self, room: Room, clock: MockClock) -> None:
        self._clock = clock
        self._path = room.path
        self._inode = room.path.stat().st_ino
        self._instants: list[float] = []

    async def by(self, instant: float) -> list[float]:
        """The instants up to this one, which is gone to in steps."""
        while trio.current_time() < instant:
            self._clock.jump(min(instant - trio.current_time(), 0.5))
            await no_more_writing()
            self._look()
        return list(self._instants)

    def _look(self) -> None:
        inode = self._path.stat().st_ino
        if inode != self._inode:
            self._inode = inode
            self._instants.append(trio.current_time())


async def no_more_writing() -> None:
    """A writing that has begun, in a thread, takes a moment of real time."""
    await trio.testing.wait_all_tasks_blocked()
    threads = trio.to_thread.current_default_thread_limiter()
    while threads.borrowed_tokens:
        await trio.to_thread.run_sync(
            threading.Event().wait, 0.005, limiter=trio.CapacityLimiter(1)
        )
        await trio.testing.wait_all_tasks_blocked()
