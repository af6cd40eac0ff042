"""-w as curl prints it: the form of every variable, beside the real one where curl is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.ops.command_line import CommandError
from haclient.ops.write_out import Piece, Stream, Times, Transfer, read_format, render
from haclient.types import (
    AttemptRecord,
    Endpoint,
    Evidence,
    EvidenceKind,
    Fields,
    Origin,
    Phase,
    Verdict,
)
from tests.support.recorder import curl, needs_curl, recording

FIELDS: Fields = (
    (b"Content-Length", b"2"),
    (b"Content-Type", b"text/plain; x"),
    (b"X-A", b"1"),
    (b"x-a", b"2"),
    (b"B", b"v"),
)

ANSWER = b"HTTP/1.1 200 OK\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in FIELDS) + b"\r\nok"

NAMES = [
    "certs", "content_type", "errormsg", "exitcode", "filename_effective", "ftp_entry_path",
    "http_code", "http_connect", "http_version", "local_ip", "local_port", "method", "num_certs",
    "num_connects", "num_headers", "num_redirects", "proxy_ssl_verify_result", "redirect_url", "referer",
    "remote_ip", "remote_port", "response_code", "scheme", "size_download", "size_header", "size_request",
    "size_upload", "speed_download", "speed_upload", "ssl_verify_result", "time_appconnect", "time_connect",
    "time_namelookup", "time_pretransfer", "time_redirect", "time_starttransfer", "time_total", "url",
    "url_effective", "urlnum", "nonsense", "HTTP_CODE", "",
]  # fmt: skip

TIMES = Times(0.001, 0.002, 0.0, 0.0025, 0.004, 0.0, 0.005)


def answered(
    url: str = "http://127.0.0.1:80/p?q", port: int = 80, size_request: int = 0
) -> Transfer:
    return Transfer(
        url=url,
        url_effective=url,
        method="POST",
        http_code=200,
        http_version="1.1",
        scheme="http",
        content_type="text/plain; x",
        filename="/dev/null",
        fields=FIELDS,
        times=TIMES,
        size_download=2,
        size_upload=5,
        size_header=len(ANSWER) - 2,
        size_request=size_request,
        remote=Endpoint("127.0.0.1", port),
        local=Endpoint("127.0.0.1", 54321),
        num_connects=1,
    )


def failed(url: str) -> Transfer:
    return Transfer(
        url=url,
        url_effective=url,
        method="GET",
        exit_code=7,
        error_message="Failed to connect",
        filename="/dev/null",
        times=Times(name_lookup=0.00001, total=0.0002),
    )


def masked(text: str) -> str:
    """What differs from run to run: times, speeds, our own port, words of errors."""
    text = re.sub(r"[0-9]+\.[0-9]{6}", "TIME", text)
    text = re.sub(r'(speed_\w+"?[=:])[1-9][0-9]*', r"\1SPEED", text)
    text = re.sub(r'(local_port"?[=:])[1-9][0-9]*', r"\1PORT", text)
    return re.sub(r'(errormsg"?[=:]"?)Failed to connect[^\n"]*', r"\1WORDS", text)


def written(template: str, transfer: Transfer, stream: Stream = Stream.STDOUT) -> str:
    return "".join(piece.text for piece in render(template, transfer) if piece.stream is stream)


EVERY = "\\n".join(f"{name}=%{{{name}}}" for name in NAMES)


@needs_curl
@pytest.mark.parametrize(
    "template", [EVERY, "%{header_json}", "%header{x-a}|%header{nope}|%header{b}"]
)
def test_every_variable_of_an_answer_looks_as_curls(template: str) -> None:
    with recording(ANSWER) as recorder:
        url = recorder.url + "/p?q#f"
        ran = curl(["-o", "/dev/null", "-w", template, "-d", "hello", url])
        size = len(recorder.requests[0].head) + len(recorder.requests[0].body)
        transfer = answered(url, recorder.port, size)

    assert masked(written(template, transfer)) == masked(ran.stdout.decode())
    assert written(template, transfer, Stream.STDERR) == ran.stderr.decode().replace(
        "curl:", "haclient:"
    )


@needs_curl
def test_every_variable_of_a_failure_looks_as_curls() -> None:
    url = "http://127.0.0.1:1/"
    ran = curl(["-s", "--no-show-error", "-o", "/dev/null", "-w", EVERY, url])

    assert ran.returncode == 7
    assert masked(written(EVERY, failed(url))) == masked(ran.stdout.decode())


@needs_curl
@pytest.mark.parametrize("is_answered", [True, False])
def test_json_has_curls_members_in_curls_order(is_answered: bool) -> None:
    with recording(ANSWER) as recorder:
        url = f"{recorder.url}/p" if is_answered else "http://127.0.0.1:1/"
        data = ["-d", "hello"] if is_answered else []
        ran = curl(["-o", "/dev/null", "-w", "%{json}", *data, url])
        size = sum(len(one.head) + len(one.body) for one in recorder.requests)
        transfer = answered(url, recorder.port, size) if is_answered else failed(url)

    curls = masked(ran.stdout.decode().partition(',"curl_version"')[0])
    ours = masked(written("%{json}", transfer).replace('"num_retries":0,', ""))
    assert ours.startswith(curls + ',"haclient_version":"')


@needs_curl
@pytest.mark.parametrize(
    "template",
    [
        "%", "%%", "%d", "%{http_code", "%{http_code}%", "a\\nb\\tc\\rd\\qe\\", "\\\\n", "é", "",
        "%{http_code}%{response_code}", "%{onerror}X", "%{ http_code}", "%header{x-a", "\\x41\\0", "%\\n|", "%%{http_code}|", "\\%{http_code}|", "%h{http_code}", "%header|", "%header{a|",
        "%{stderr}E%{stdout}O", "%{stdout}O%{stderr}E\\n",
    ],
)  # fmt: skip
def test_the_grammar_is_curls(template: str) -> None:
    with recording(ANSWER) as recorder:
        ran = curl(["-o", "/dev/null", "-w", template, recorder.url])

    assert written(template, answered()) == ran.stdout.decode()
    assert written(template, answered(), Stream.STDERR) == ran.stderr.decode().replace(
        "curl:", "haclient:"
    )


def attempt(number: int, started: float, **more: object) -> AttemptRecord:
    values: dict[str, object] = {
        "number": number,
        "origin": Origin("http", "h.test", 80),
        "endpoint": Endpoint("10.0.0.1", 80),
        "phase": Phase.DONE,
        "verdict": Verdict.ANSWERED,
        "started_at": started,
        "ended_at": started + 1.5,
    }
    return AttemptRecord(**{**values, **more})  # type: ignore[arg-type]


DEAD = attempt(
    1,
    100.0,
    verdict=Verdict.DEAD,
    phase=Phase.WAITING,
    evidence=Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5),
)


def test_attempts_and_failover_time() -> None:
    transfer = Transfer(
        url="u", url_effective="u", method="GET", attempts=(DEAD, attempt(2, 102.5))
    )

    assert written("%{attempts} %{failover_time} %{num_retries}", transfer) == "2 2.500000 0"
    told = json.loads(written("%{json}", transfer))
    assert told["failover_time"] == 2.5
    assert told["attempts"] == [
        {
            "number": 1,
            "endpoint": "10.0.0.1:80",
            "origin": "http://h.test",
            "phase": "waiting",
            "verdict": "dead",
            "evidence": "3 keep-alive probes unanswered, silent for 2.50 s",
            "detail": "",
            "status": None,
            "start_ms": 0,
            "end_ms": 1500,
        },
        {
            "number": 2,
            "endpoint": "10.0.0.1:80",
            "origin": "http://h.test",
            "phase": "done",
            "verdict": "answered",
            "evidence": None,
            "detail": "",
            "status": None,
            "start_ms": 2500,
            "end_ms": 4000,
        },
    ]


def test_failover_time_is_the_last_exchanges() -> None:
    redirected = (attempt(1, 90.0), DEAD, attempt(2, 102.0, endpoint=None))

    assert (
        Transfer(url="u", url_effective="u", method="GET", attempts=redirected).failover_time == 2.0
    )
    assert Transfer(url="u", url_effective="u", method="GET").failover_time == 0.0
    assert (
        json.loads(
            written(
                "%{json}", Transfer(url="u", url_effective="u", method="GET", attempts=redirected)
            )
        )["attempts"][2]["endpoint"]
        is None
    )


def test_times_are_those_of_the_attempt_that_answered() -> None:
    last = attempt(
        2,
        102.0,
        resolved_at=102.125,
        connected_at=102.25,
        usable_at=102.5,
        first_byte_at=103.0,
        origin=Origin("https", "h.test", 443),
    )

    times = Times.of((DEAD, last), 100.0, 104.0)

    assert times == Times(2.125, 2.25, 2.5, 2.5, 3.0, 0.0, 4.0)


def test_times_of_a_reused_connection_and_of_a_redirect() -> None:
    reused = attempt(1, 101.0, usable_at=101.0, connected_at=50.0, first_byte_at=101.5)

    times = Times.of((reused,), 100.0, 102.0, redirected_at=101.0)

    assert (times.connect, times.app_connect, times.name_lookup) == (0.0, 0.0, 0.0)
    assert (times.pre_transfer, times.start_transfer) == (1.0, 1.5)
    assert (times.redirect, times.total) == (1.0, 2.0)


def test_times_without_an_attempt() -> None:
    assert Times.of((), 1.0, 3.0) == Times(total=2.0)


def test_speed_is_of_whole_bytes_and_never_by_zero() -> None:
    assert answered().speed(1001) == 200200
    assert Transfer(url="u", url_effective="u", method="GET").speed(5) == 0


def test_pieces_of_one_stream_are_one() -> None:
    assert render("a%{http_code}%%\\n%{stderr}b%{nope}%{stdout}c", answered()) == [
        Piece(Stream.STDOUT, "a200%\n"),
        Piece(Stream.STDERR, "bhaclient: unknown --write-out variable: 'nope'\n"),
        Piece(Stream.STDOUT, "c"),
    ]


def test_onerror_lets_the_rest_through_after_a_failure() -> None:
    assert written("%{exitcode}%{onerror} %{errormsg}", failed("u")) == "7 Failed to connect"
    assert written("%{exitcode}%{onerror} %{errormsg}", answered()) == "0"


def test_a_field_that_is_not_utf8_is_the_same_bytes() -> None:
    transfer = Transfer(url="u", url_effective="u", method="GET", fields=((b"X", b"\xff"),))

    assert written("%header{x}", transfer).encode("utf-8", "surrogateescape") == b"\xff"
    assert json.loads(written("%{header_json}", transfer)) == {"x": ["�"]}


def test_the_format_from_a_file_or_stdin(tmp_path: Path) -> None:
    path = tmp_path / "format"
    path.write_bytes(b"%{http_code}\r\nsecond\\n\n")

    assert read_format("@x"[1:], bytes) == "x"
    assert read_format(f"@{path}", bytes) == "%{http_code}second\\n"
    assert read_format("@-", lambda: b"in\n") == "in"
    with pytest.raises(CommandError, match="cannot be read"):
        read_format("@/nowhere", bytes)


@given(st.text(), st.text(alphabet=st.sampled_from("%{}\\ntrhealdjso")))
def test_no_format_fails(text: str, pieces: str) -> None:
    assert all(isinstance(piece.text, str) for piece in render(text + pieces, answered()))
