"""A file that changes: seen within a second, and looked at no more than once in it."""

from __future__ import annotations

import os
from pathlib import Path

from haclient.net.watched_file import CHECK_INTERVAL, WatchedFile


def watched(path: Path) -> WatchedFile[list[str]]:
    return WatchedFile(str(path), str.split)


def test_a_change_is_seen_after_the_check_interval_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    file = watched(path)
    assert file.get(0.0) == ["one"]
    path.write_text("two")
    assert file.get(CHECK_INTERVAL - 0.01) == ["one"]
    assert file.get(CHECK_INTERVAL) == ["two"]


def test_check_looks_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    file = watched(path)
    assert file.check() == ["one"]
    path.write_text("two")
    assert file.check() == ["two"]


def test_a_replacement_of_the_same_size_and_time_is_seen_by_its_inode(tmp_path: Path) -> None:
    path, new = tmp_path / "file", tmp_path / "new"
    path.write_text("one")
    file = watched(path)
    assert file.check() == ["one"]
    new.write_text("two")
    status = path.stat()
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(path)
    assert file.check() == ["two"]


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    read: list[str] = []
    file = WatchedFile(str(path), read.append)
    for _ in range(3):
        file.check()
    assert read == ["", "one"]


def test_what_parses_to_the_same_stays_the_same_object(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    file = watched(path)
    before = file.check()
    path.write_text(" one \n")
    assert file.check() is before


def test_a_file_that_is_not_there_is_empty_until_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = watched(path)
    assert file.check() == []
    path.write_text("one")
    assert file.check() == ["one"]
    path.unlink()
    assert file.check() == []


def test_what_cannot_be_read_or_is_no_text_does_no_harm(tmp_path: Path) -> None:
    assert watched(tmp_path).check() == []  # a directory
    path = tmp_path / "file"
    path.write_bytes(b"one \xff\xfe two")
    assert watched(path).check()[0] == "one"
    assert repr(watched(path)) == f"<WatchedFile {path}>"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    os.mkfifo(path)
    assert watched(path).check() == []
