"""Content from -d and -T; what curl makes of the same is asked in test_request_plan."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.ops.command_line import CommandError
from haclient.ops.content import (
    InlineContent,
    LocalFile,
    StandardInput,
    join_data,
    percent_encode,
    read_local,
    upload,
)
from haclient.ops.options import DataKind

FORM, RAW, BINARY, URLENCODE, JSON = DataKind


def test_only_json_is_joined_without_an_ampersand() -> None:
    parts = [
        (FORM, "a"),
        (RAW, "@b"),
        (JSON, "{}"),
        (BINARY, "c"),
        (URLENCODE, "n=d e"),
        (JSON, ""),
    ]

    assert join_data(parts, bytes) == b"a&@b{}&c&n=d+e"


def test_a_file_of_a_form_has_no_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a\r\nb\n\0c")

    assert join_data([(FORM, f"@{path}")], bytes) == b"abc"
    assert join_data([(BINARY, f"@{path}")], bytes) == b"a\r\nb\n\0c"
    assert join_data([(JSON, f"@{path}")], bytes) == b"a\r\nb\n\0c"
    assert join_data([(FORM, "a\nb")], bytes) == b"a\nb"


def test_stdin() -> None:
    assert join_data([(FORM, "@-"), (BINARY, "@-")], lambda: b"x\n") == b"x&x\n"


def test_bytes_that_are_no_text_stay_themselves() -> None:
    assert join_data([(FORM, "\udcff")], bytes) == b"\xff"
    assert join_data([(URLENCODE, "\udcff")], bytes) == b"%FF"


@given(st.binary())
def test_percent_encoding_is_undone_by_anyone(data: bytes) -> None:
    from urllib.parse import unquote_to_bytes

    assert unquote_to_bytes(percent_encode(data)) == data


def test_an_upload_is_looked_at_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    assert upload(str(path)) == LocalFile(str(path), 3)
    assert upload(str(fifo)) == LocalFile(str(fifo), None)
    assert upload("-") == upload(".") == StandardInput()
    assert InlineContent(b"abc").length == 3


@pytest.mark.parametrize("path", ["/nowhere/f", "/", "a\0b"])
def test_what_cannot_be_read_is_an_error(path: str) -> None:
    with pytest.raises(CommandError, match="cannot be read") as uploading:
        upload(path)
    with pytest.raises(CommandError, match=r"--data: the file .* cannot be read") as reading:
        read_local(path, "--data", bytes)

    assert uploading.value.exit_code == reading.value.exit_code == 26


def test_a_file_without_permission(private_file: Path) -> None:
    with pytest.raises(CommandError, match="permission denied"):
        upload(str(private_file))
