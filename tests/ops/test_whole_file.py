"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from haclient.whole_file import put_in_place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_new_file_and_another_content(path: Path) -> None:
    put_in_place(str(path), b"one")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    before = path.stat()
    with path.open("rb") as reader:
        put_in_place(str(path), b"two")
        assert reader.read() == b"one", "who has opened it reads the old one to its end"
    assert path.read_bytes() == b"two"
    assert path.stat().st_ino != before.st_ino
    assert os.listdir(path.parent) == ["file"]


def test_what_the_new_file_is_to_be_is_settled_before_it_has_content(path: Path) -> None:
    def prepare(descriptor: int) -> None:
        assert os.fstat(descriptor).st_size == 0
        os.fchmod(descriptor, 0o640)

    put_in_place(str(path), b"x", prepare)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt()])
def test_what_fails_in_the_midst_leaves_the_old_one_alone(path: Path, fault: BaseException) -> None:
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise fault

    with pytest.raises(type(fault)):
        put_in_place(str(path), b"new", fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_a_link_is_replaced_and_what_it_leads_to_left_alone(path: Path) -> None:
    other = path.parent / "other"
    other.write_bytes(b"other")
    path.symlink_to(other)
    put_in_place(str(path), b"mine")
    assert (path.is_symlink(), path.read_bytes(), other.read_bytes()) == (False, b"mine", b"other")


def test_what_a_killed_one_left_is_in_nobody_s_way(path: Path) -> None:
    left = path.parent / f"file.{os.getpid()}.new"
    left.write_bytes(b"half")
    put_in_place(str(path), b"whole")
    assert os.listdir(path.parent) == ["file"]


def test_a_folder_that_is_not_there(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        put_in_place(str(path / "file"), b"x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_folder_that_may_be_written_and_not_read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, -1)
        os.chmod(folder, 0o300)
        code = f"import sys; sys.path[:0] = {sys.path!r}\n"
        code += "import os, haclient.whole_file as it; os.setuid(65534)\n"
        code += f"it.put_in_place({folder + '/file'!r}, b'x')"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert Path(folder, "file").read_bytes() == b"x"
