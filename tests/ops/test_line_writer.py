"""Lines to readers that sleep, are slow, or have left."""

from __future__ import annotations

import os
import pty
import re
import socket
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from haclient.ops.line_writer import LineWriter


def notice(count: int) -> bytes:
    return b"[%d dropped]\n" % count


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


def read_all(reading: int) -> bytes:
    """What is there now."""
    os.set_blocking(reading, False)
    found = b""
    try:
        while data := os.read(reading, 1 << 20):
            found += data
    except BlockingIOError:
        pass
    return found


def test_lines_arrive(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing, notice)

    assert writer.write(b"one\n")
    assert writer.write(b"two\n")
    assert read_all(reading) == b"one\ntwo\n"
    assert writer.dropped == 0
    writer.close()
    writer.close()


def test_a_pipe_that_nobody_reads_does_not_block(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing, notice)
    line = b"x" * 999 + b"\n"
    taken = sum(writer.write(line) for _ in range(1000))  # a pipe holds 64 KiB

    assert 0 < taken < 1000
    assert writer.dropped == 1000 - taken
    assert os.get_blocking(writing)  # others have it too

    seen = read_all(reading)
    assert writer.write(b"again\n")
    assert writer.write(b"and again\n")
    seen += read_all(reading)
    # A notice is short, and may have found room where a line did not.
    assert sum(map(int, re.findall(rb"\[(\d+) dropped\]\n", seen))) == 1000 - taken
    assert re.sub(rb"\[\d+ dropped\]\n", b"", seen) == line * taken + b"again\nand again\n"
    writer.close()


def test_a_line_that_went_out_in_part_is_completed_first(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing, notice)
    long = b"y" * 100_000 + b"\n"  # more than the pipe holds, and than PIPE_BUF

    assert writer.write(long)
    assert not writer.write(b"lost\n")
    seen = read_all(reading)
    assert 0 < len(seen) < len(long)
    assert writer.write(b"next\n")
    assert seen + read_all(reading) == long + b"[1 dropped]\nnext\n"
    writer.close()


def test_a_notice_that_does_not_fit_is_not_lost(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing, notice)
    full = 0
    while writer.write(b"z" * 1023 + b"\n"):
        full += 1
    for _ in range(5):
        assert not writer.write(b"lost\n")
    os.read(reading, 8192)

    assert writer.write(b"next\n")
    seen = read_all(reading)
    assert sum(map(int, re.findall(rb"\[(\d+) dropped\]\n", seen))) == 6
    assert seen.endswith(b"dropped]\nnext\n")
    assert writer.dropped == 6
    writer.close()


def test_a_reader_that_left_harms_nobody(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing, notice)
    os.close(reading)

    assert [writer.write(b"x\n") for _ in range(3)] == [False] * 3
    assert writer.dropped == 3
    writer.close()


def test_a_socket_as_the_journal_has_it() -> None:
    ours, its = socket.socketpair()
    with ours, its:
        writer = LineWriter(its.fileno(), notice)
        taken = sum(writer.write(b"x" * 999 + b"\n") for _ in range(5000))

        assert 0 < taken < 5000
        assert writer.dropped == 5000 - taken
        assert its.getblocking()
        seen = read_all(ours.fileno())
        assert seen[:1000] == b"x" * 999 + b"\n"
        assert writer.write(b"next\n")
        assert read_all(ours.fileno()).endswith(b"dropped]\nnext\n")
        ours.close()
        assert not writer.write(b"x\n")  # and no SIGPIPE
        writer.close()


def test_a_file_is_written_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    with path.open("ab") as file:
        writer = LineWriter(file.fileno(), notice)
        assert writer.write(b"after\n")
        writer.close()

    assert path.read_bytes() == b"before\nafter\n"


def test_a_full_disk_harms_nobody() -> None:
    with open("/dev/full", "wb") as full:
        writer = LineWriter(full.fileno(), notice)

        assert not writer.write(b"x\n")
        assert writer.dropped == 1
        writer.close()


def test_a_terminal_that_is_stopped_does_not_block() -> None:
    ours, its = pty.openpty()
    writer = LineWriter(its, notice)
    termios.tcflow(its, termios.TCOOFF)  # as Ctrl-S does
    taken = sum(writer.write(b"x" * 999 + b"\n") for _ in range(200))

    assert taken < 200
    assert os.get_blocking(its)
    termios.tcflow(its, termios.TCOON)
    writer.close()
    os.close(its)
    os.close(ours)


@pytest.fixture
def no_second_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a pipe of another user's: it cannot be opened again through /proc."""

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(path, flags)

    monkeypatch.setattr("haclient.ops.line_writer.os.open", refuse)


@pytest.mark.usefixtures("no_second_opening")
def test_a_pipe_of_another_users_does_not_block_either(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing, notice)
    line = b"x" * 999 + b"\n"
    while writer.write(line):
        pass
    assert os.get_blocking(writing), "the flag is everybody's"
    assert writer.dropped == 1
    heard = read_all(reading)
    assert writer.write(b"after\n")
    heard += read_all(reading)
    assert heard.replace(line, b"") == b"[1 dropped]\nafter\n"
    writer.close()


@pytest.mark.usefixtures("no_second_opening")
def test_a_long_line_goes_there_in_pieces_and_whole(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing, notice)
    long = b"y" * 9999 + b"\n"
    assert writer.write(long)
    heard = read_all(reading)
    for _ in range(3):
        writer.write(b"next\n")
        heard += read_all(reading)
    assert heard.startswith(long)
    assert set(heard[len(long) :].split(b"\n")) <= {b"next", b"[1 dropped]", b"[2 dropped]", b""}
    writer.close()
