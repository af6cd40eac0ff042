"""A users file on the disk: which one is trusted, and what is said of one that is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from haclient.core.users import MAX_BYTES, Cost, new_user
from haclient.net.users_file import read_users

ANN = new_user("ann", "x", bytes(16), Cost(10, 1, 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.touch(0o600)
    file.write_text(f"{ANN}\n")
    return file


def why_refused(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read_users(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_file_of_ours(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert read_users(str(path)).by_name == {"ann": ANN}


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o604, "has mode 0604: everybody can read it; chmod 600 it"),
        (0o644, "has mode 0644: everybody can read it"),
        (0o602, "has mode 0602: everybody can change it; chmod 600 it"),
        (0o606, "has mode 0606: everybody can read and change it; chmod 600 it"),
        (0o601, "has mode 0601: everybody has a right to it; chmod 600 it"),
        (0o620, "has mode 0620: its group can change it"),
        (0o660, "or 640 for a service's group"),
    ],
)
def test_a_file_that_others_can_read_or_change(path: Path, mode: int, words: str) -> None:
    path.chmod(mode)
    assert words in why_refused(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_somebody_else(path: Path) -> None:
    os.chown(path, 65534, 65534)
    assert "belongs to user 65534, who could write himself in" in why_refused(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "No such file or directory; make it with 'haclient passwd'" in why_refused(
        tmp_path / "no"
    )
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is no regular file; name the one that 'haclient passwd' writes" in why_refused(
        tmp_path / "pipe"
    )
    assert f"{tmp_path} is a folder; name a file in it" in why_refused(tmp_path)
    (tmp_path / "file").touch()
    said = why_refused(tmp_path / "file" / "users")
    assert said == f"{tmp_path}/file/users cannot be read: Not a directory; name another file"


def test_one_that_we_may_not_read(private_file: Path) -> None:
    """It is there: 'haclient passwd' would not mend that."""
    assert why_refused(private_file) == (
        f"{private_file} cannot be read: Permission denied; chown it to user {os.geteuid()}, or chgrp it "
        "to a group of his and chmod 640, and let him into its folder"
    )


def test_what_is_in_it(path: Path) -> None:
    path.write_text("# nobody yet\n")
    assert "has no user, so nobody could enter" in why_refused(path)
    path.write_text(f"{ANN}\nbob:secret\n")
    said = why_refused(path)
    assert said.startswith(f"{path}, line 2: what is behind the name is no hash of ours")
    assert "secret" not in said
    path.write_bytes(b"\xff")
    assert "is no UTF-8" in why_refused(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert "has more than 1 MiB" in why_refused(path)
