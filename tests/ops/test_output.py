"""What is written where, and what is said where it cannot be."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from haclient.core.url import parse_url
from haclient.ops.command_line import CommandError
from haclient.ops.output import Output, file_name_of, head_lines


class Standard(io.TextIOWrapper):
    """Stands for sys.stdout."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding="utf-8")
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


def replaced(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool = False) -> Standard:
    """Within the test itself: between a fixture and its test pytest puts its own stdout there."""
    stream = Standard(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h.test/a/b.txt", "b.txt"),
        ("http://h.test/a/b.txt?c=/d", "b.txt"),
        ("http://h.test/a%20b", "a b"),
        ("http://h.test/a/..%2Fb", "b"),
        ("http://h.test/a;b", "a;b"),
    ],
)
def test_a_urls_own_name(url: str, name: str) -> None:
    assert file_name_of(parse_url(url)) == name


@pytest.mark.parametrize("path", ["", "/", "/a/", "/a/%2e%2e", "/a%2f", "/a%00b"])
def test_a_url_without_a_name(path: str) -> None:
    with pytest.raises(CommandError, match="has no file name; give one with -o") as caught:
        file_name_of(parse_url("http://h.test" + path))

    assert caught.value.exit_code == 23


def test_a_head_as_curl_shows_it() -> None:
    head = head_lines(b"1.1", 200, b"OK", ((b"A", b"b"), (b"C", b"")))

    assert head == b"HTTP/1.1 200 OK\r\nA: b\r\nC:\r\n\r\n"


@pytest.mark.parametrize("path", [None, "-"])
def test_stdout_has_every_piece_at_once(path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = replaced(monkeypatch)
    with Output(path) as output:
        output.write_head(b"HEAD")
        output.write(b"some \0")
        assert stdout.bytes.getvalue() == b"HEADsome \0"
        output.write(b"content")
        output.finish()

    assert stdout.bytes.getvalue() == b"HEADsome \0content"
    assert (output.path, output.written, output.is_terminal) == (None, 13, False)
    assert not stdout.closed


def test_a_file_is_opened_with_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with Output(str(path)) as output:
        assert path.read_bytes() == b"old"
        output.write(b"new")
        output.finish()
        assert path.read_bytes() == b"new"

    assert output.written == 3


def test_a_file_without_a_byte_is_there_all_the_same(tmp_path: Path) -> None:
    with Output(str(tmp_path / "empty")) as output:
        output.finish()
    with Output(str(tmp_path / "never")):
        pass

    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_binary_is_kept_from_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = replaced(monkeypatch, is_terminal=True)
    output = Output(None)
    assert output.is_terminal

    with pytest.raises(CommandError, match="save it with -o FILE, or insist with -o -") as caught:
        output.write(b"\x7fE\0LF")

    assert caught.value.exit_code == 23
    assert terminal.bytes.getvalue() == b""


@pytest.mark.parametrize(
    "data", [b"text", b"x" * 2000 + b"\0", b"\x1b[31m"], ids=["text", "a late NUL", "colours"]
)
def test_other_content_is_not(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = replaced(monkeypatch, is_terminal=True)
    Output(None).write(data)

    assert terminal.bytes.getvalue() == data


def test_only_the_first_piece_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = replaced(monkeypatch, is_terminal=True)
    output = Output(None)
    output.write(b"text")
    output.write(b"\0")

    assert terminal.bytes.getvalue() == b"text\0"


def test_binary_goes_to_a_terminal_where_that_is_insisted_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = replaced(monkeypatch, is_terminal=True)
    Output("-").write(b"\0")

    assert terminal.bytes.getvalue() == b"\0"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere/x", "the file 'nowhere/x' cannot be written: No such file or directory; make its directory first"),
        ("folder", "the file 'folder' cannot be written: Is a directory; name another file with -o"),
        ("a\0b", "the file 'a\\x00b' cannot be written: embedded null byte; name another file with -o"),
        ("/dev/full", "the file '/dev/full' cannot be written: No space left on device; make room there, or name another file with -o"),
    ],
    ids=["no directory", "a directory", "no name", "a full disk"],
)  # fmt: skip
def test_a_file_that_cannot_be_written(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    output = Output(path)
    with pytest.raises(CommandError) as caught, output:  # noqa: PT012
        output.write(b"x")
        output.finish()

    assert str(caught.value) == message
    assert caught.value.exit_code == 23


def test_a_full_disk_shows_when_the_file_is_closed_at_the_latest() -> None:
    output = Output("/dev/full")
    with pytest.raises(CommandError, match="No space left"), output:
        output.write(b"x")


def test_and_does_not_hide_what_came_before() -> None:
    output = Output("/dev/full")
    with pytest.raises(ZeroDivisionError), output:  # noqa: PT012
        output.write(b"x")
        raise ZeroDivisionError


def test_a_reader_that_left_is_no_fault_of_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(BrokenPipeError):
            Output(None).write(b"x")
        # What is left in the buffer must not be tried again when the test closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)
