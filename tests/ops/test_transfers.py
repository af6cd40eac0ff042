"""Several URLs in one command line, and what is told of each.

In this process and against a server on loopback; the command as a process of its own is in tests/e2e.
"""

from __future__ import annotations

import io
import socket
import sys
from pathlib import Path

import pytest

from haclient.errors import Error
from haclient.ops.command_line import CommandError
from haclient.ops.options import parse_options
from haclient.ops.transfers import carry_out
from tests.support.recorder import OK, Recorder, recording

NOBODY = "http://127.0.0.1:1/"


def answer(number: int, connection: socket.socket, head: bytes) -> bytes | None:
    if b" /cookie" in head:
        return b"HTTP/1.1 200 OK\r\nSet-Cookie: n=%d\r\nContent-Length: 2\r\n\r\nok" % number
    return OK


class Carried:
    """A command line that was carried out."""

    def __init__(self, recorder: Recorder, captured: tuple[str, str], code: int) -> None:
        self.code = code
        self.stdout, self.stderr = captured
        self.heads = [request.head for request in recorder.requests]
        self.bodies = [request.body for request in recorder.requests]


def carried(capfd: pytest.CaptureFixture[str], *words: str) -> Carried:
    """Carries it out; "URL" stands for the server's."""
    with recording(answer) as recorder:
        code = carry_out(parse_options([word.replace("URL", recorder.url) for word in words]))
    return Carried(recorder, capfd.readouterr(), code)


def test_each_url_in_turn_on_one_connection(capfd: pytest.CaptureFixture[str]) -> None:
    ran = carried(capfd, "-w", " %{num_connects}%{urlnum}\n", "URL/1", "URL/2")

    assert (ran.code, ran.stdout, ran.stderr) == (0, "ok 10\nok 01\n", "")
    assert [head.split()[1] for head in ran.heads] == [b"/1", b"/2"]


def test_whoever_reads_along_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    ran = carried(capfd, "-v", "URL/1")

    assert "> GET /1 HTTP/1.1\n" in ran.stderr
    assert "< HTTP/1.1 200 OK\n" in ran.stderr


def test_one_that_fails_does_not_keep_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    ran = carried(capfd, "-w", " %{exitcode}\n", NOBODY, "http://a b/", "URL/2")

    assert (ran.code, ran.stdout) == (0, " 7\n 3\nok 0\n")
    assert [line[:13] for line in ran.stderr.splitlines()] == ["haclient: (7)", "haclient: (3)"]


def test_the_last_ones_code_is_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    assert carried(capfd, "URL/1", NOBODY).code == 7


@pytest.mark.parametrize(
    ("words", "code"),
    [(["-T", "nowhere"], 26), (["-O"], 23), (["-H", "a b"], 2), (["-x", "foo://x"], 7)],
    ids=["a file", "a name", "a field", "a proxy"],
)
def test_a_wrong_option_ends_the_row(
    words: list[str], code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = carried(capfd, *words, "URL/", "URL/2")

    assert (ran.code, ran.heads, ran.stderr.count("\n")) == (code, [], 1)


@pytest.mark.parametrize(
    ("words", "lines"), [([], 1), (["-s"], 0), (["-sS"], 1), (["-S"], 1)], ids=str
)
def test_silence(words: list[str], lines: int, capfd: pytest.CaptureFixture[str]) -> None:
    ran = carried(capfd, *words, NOBODY)

    assert (ran.code, ran.stderr.count("\n")) == (7, lines)


def test_cookies_go_from_one_url_to_the_next_and_into_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jar = tmp_path / "jar"
    ran = carried(capfd, "-c", str(jar), "URL/cookie/1", "URL/cookie/2", "http://a b/")

    assert ran.code == 3
    assert b"Cookie:" not in ran.heads[0]
    assert b"\r\nCookie: n=1\r\n" in ran.heads[1]
    assert "\tn\t2\n" in jar.read_text()


def test_cookies_are_told_after_everything_else(capfd: pytest.CaptureFixture[str]) -> None:
    ran = carried(capfd, "-c", "-", "-w", "\n", "URL/cookie", "URL/cookie")

    assert ran.stdout.startswith("ok\nok\n# Netscape HTTP Cookie File\n")
    assert "\tn\t2\n" in ran.stdout


def test_cookies_that_cannot_be_saved_are_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = carried(capfd, "-c", str(tmp_path / "nowhere" / "jar"), "URL/cookie")

    assert (ran.code, ran.stdout) == (0, "ok")
    assert "the cookies cannot be saved in" in ran.stderr


def test_stdin_is_read_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from stdin")))
    ran = carried(capfd, "-d", "@-", "-w", "@-", "URL/1", "URL/2")

    assert ran.bodies == [b"from stdin"] * 2
    assert ran.stdout == "okfrom stdin" * 2


def test_a_password_that_nobody_can_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ran = carried(capfd, "-u", "me", "URL/")

    assert ran.code == 2
    assert "no password; write USER:PASSWORD" in ran.stderr


def test_what_is_written_out_goes_where_it_says(capfd: pytest.CaptureFixture[str]) -> None:
    ran = carried(
        capfd, "-o", "/dev/null", "-w", "one %{stderr}two %{nonsense}%{stdout}three", "URL/"
    )

    assert ran.stdout == "one three"
    assert ran.stderr == "two haclient: unknown --write-out variable: 'nonsense'\n"


def test_bytes_of_the_command_line_come_out_as_they_went_in(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    with recording() as recorder:
        carry_out(parse_options(["-w", "\udcff\u20ac", "-o", "/dev/null", recorder.url]))

    assert capfdbinary.readouterr().out == b"\xff\xe2\x82\xac"


def test_the_proxys_own_name_has_its_own_code(capfd: pytest.CaptureFixture[str]) -> None:
    ran = carried(capfd, "-x", "http://[::1]:1", "-4", "http://h.test/")

    assert ran.code == 5
    assert ran.stderr.startswith("haclient: (5) cannot resolve ::1: it has no IPv4 address")


def test_a_bug_is_not_taken_for_an_error_of_the_transfer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: object, **kwargs: object) -> object:
        raise ExceptionGroup("group", [ZeroDivisionError("a bug"), Error("not told")])

    monkeypatch.setattr("haclient.ops.transfer.compose", broken)
    with pytest.raises(ExceptionGroup) as caught:
        carry_out(parse_options([NOBODY]))

    assert caught.group_contains(ZeroDivisionError)


def test_a_path_is_asked_of_the_target_and_a_url_where_it_says(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with recording() as targets:
        path = tmp_path / "file"
        path.write_text(f'[target.t]\nurls = ["{NOBODY}"]\nbackups = ["{targets.url}/base"]\n')
        ran = carried(capfd, "--config", str(path), "--target", "t", "/a?b", "URL/c")

    assert (ran.code, ran.stdout) == (0, "okok")
    assert [request.head.split()[1] for request in targets.requests] == [b"/base/a?b"]
    assert [head.split()[1] for head in ran.heads] == [b"/c"]


def test_a_file_of_settings_that_is_none_is_told_before_anything_is_done() -> None:
    with pytest.raises(CommandError) as caught:
        carry_out(parse_options(["--config", "nowhere", "--target", "t", "/"]))

    assert caught.value.exit_code == 78
