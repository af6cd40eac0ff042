"""Each error's exit code, and what curl exits with in the same case where it is there to be asked."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from haclient import errors
from haclient.ops.command_line import CommandError
from haclient.ops.exit_codes import ExitCode, error_line, exit_code_for
from haclient.types import AttemptRecord, Endpoint, Evidence, EvidenceKind, Origin, Phase, Verdict
from tests.support.recorder import OK, abort, curl, needs_curl, recording

ORIGIN = Origin("http", "h.test", 80)
ENDPOINT = Endpoint("10.0.0.1", 80)
RESET = Evidence(EvidenceKind.RESET, 0, 0.0)
PROBED = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)


def attempt(
    phase: Phase,
    verdict: Verdict = Verdict.CLOSED,
    evidence: Evidence | None = None,
    endpoint: Endpoint | None = ENDPOINT,
) -> AttemptRecord:
    return AttemptRecord(1, ORIGIN, endpoint, phase, verdict, 0.0, 1.0, evidence=evidence)


def died(
    phase: Phase, verdict: Verdict = Verdict.CLOSED, evidence: Evidence | None = None
) -> errors.ServerDiedError:
    kind = errors.ResponseIncompleteError if phase is Phase.RECEIVING else errors.ServerDiedError
    return kind("x", stage=phase, attempts=(attempt(phase, verdict, evidence),))


class FileError(errors.BadRequestError):
    """As haclient.net.tls.TlsFileError."""

    def __init__(self, role: str) -> None:
        super().__init__("a file")
        self.role = role


CODES = {
    "another scheme": (errors.UnsupportedSchemeError("x"), 1),
    "a malformed URL": (errors.UrlError("x"), 3),
    "a request that cannot be sent": (errors.BadRequestError("x"), 2),
    "content that cannot be read": (errors.ContentError("x"), 26),
    "no such name": (errors.NameNotFoundError("x"), 6),
    "no address": (errors.NoAddressError("x"), 6),
    "a name server that fails": (errors.NameServerError("x"), 6),
    "a name server that refuses": (errors.NameRefusedError("x"), 6),
    "a name server that is silent": (errors.NameTimeoutError("x"), 6),
    "a refused connection": (errors.ConnectError("x"), 7),
    "connects without an answer": (errors.ConnectTimeoutError("x"), 28),
    "a proxy that refuses": (errors.ProxyError("x"), 56),
    "a proxy that wants credentials": (errors.ProxyCredentialsError("x"), 56),
    "no TLS": (errors.TlsError("x"), 35),
    "a certificate not accepted": (errors.CertificateError("x"), 60),
    "our certificate's file": (FileError("certificate"), 58),
    "our key's file": (FileError("key"), 58),
    "the authorities' file": (FileError("CA"), 77),
    "closed before the response": (died(Phase.WAITING), 52),
    "closed before the response, without a record": (errors.ServerDiedError("x"), 52),
    "reset before the response": (died(Phase.WAITING, evidence=RESET), 56),
    "proved dead before the response": (died(Phase.WAITING, Verdict.DEAD, PROBED), 56),
    "broken while sending": (died(Phase.SENDING, evidence=RESET), 55),
    "closed within the content": (died(Phase.RECEIVING), 18),
    "reset within the content": (died(Phase.RECEIVING, evidence=RESET), 56),
    "proved dead within the content": (died(Phase.RECEIVING, Verdict.DEAD, PROBED), 56),
    "a later attempt did not connect": (
        errors.ServerDiedError(
            "x",
            stage=Phase.WAITING,
            attempts=(
                attempt(Phase.WAITING, evidence=RESET),
                attempt(Phase.CONNECTING, endpoint=None),
            ),
        ),
        56,
    ),
    "silent for too long": (errors.ResponseTimeoutError("x"), 28),
    "the deadline": (errors.DeadlineError("x"), 28),
    "garbage instead of a head": (errors.ProtocolError("x", stage=Phase.WAITING), 1),
    "garbage instead of a chunk": (errors.ProtocolError("x", stage=Phase.RECEIVING), 56),
    "too much content": (errors.ContentTooLargeError("x"), 63),
    "too many redirects": (errors.TooManyRedirectsError("x"), 47),
    "an error without a case": (errors.Error("x"), 70),
    "a wrong option": (CommandError("x"), 2),
    "a wrong --resolve": (CommandError("x", 49), 49),
    "output that cannot be written": (OSError(28, "No space left on device"), 23),
    "a reader that left": (BrokenPipeError(32, "Broken pipe"), 23),
    "an interrupt": (KeyboardInterrupt(), 130),
    "a bug": (ZeroDivisionError("x"), 70),
    "a group": (ExceptionGroup("g", [ExceptionGroup("h", [errors.UrlError("x")])]), 3),
    "a group with an interrupt": (
        BaseExceptionGroup("g", [errors.UrlError("x"), KeyboardInterrupt()]),
        130,
    ),
}


@pytest.mark.parametrize(("error", "code"), CODES.values(), ids=CODES.keys())
def test_each_error_has_its_code_and_one_line(error: BaseException, code: int) -> None:
    assert exit_code_for(error) == code
    line = error_line(error)
    assert line.startswith(f"haclient: ({code}) ")
    assert "\n" not in line


def test_every_error_has_a_case() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]

    codes = {kind.__name__: exit_code_for(kind("x")) for kind in kinds if kind is not errors.Error}

    assert ExitCode.BUG not in codes.values(), codes


def test_the_proxys_name_has_a_code_of_its_own() -> None:
    assert exit_code_for(errors.NameNotFoundError("x"), is_proxied=True) == 5
    assert exit_code_for(errors.ConnectError("x"), is_proxied=True) == 7
    assert error_line(errors.NameNotFoundError("x"), is_proxied=True).startswith("haclient: (5) ")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            errors.NameNotFoundError("no such name: h.test", remedy="Check the spelling"),
            "haclient: (6) no such name: h.test. Check the spelling, or give its address with --resolve",
        ),
        (
            errors.ResolveError("h..test is no name"),
            "haclient: (6) h..test is no name. Give its address with --resolve",
        ),
        (
            errors.ConnectError(
                "cannot connect to http://h.test: refused\n  attempt 1: also refused",
                remedy="Check that the server runs",
            ),
            "haclient: (7) cannot connect to http://h.test: refused; attempt 1: also refused. "
            "Check that the server runs",
        ),
        (
            errors.CertificateError("h.test: expired", remedy="Check its dates"),
            "haclient: (60) h.test: expired. "
            "Check its names and dates, or name its authority with --cacert",
        ),
        (
            errors.UrlError("the URL 'a b' is malformed: a space; write %20"),
            "haclient: (3) the URL 'a b' is malformed: a space; write %20",
        ),
        (
            OSError(28, "No space left on device", "/dev/full"),
            "haclient: (23) the output cannot be written: No space left on device (/dev/full)",
        ),
        (
            OSError(28, "No space left on device"),
            "haclient: (23) the output cannot be written: No space left on device",
        ),
        (
            ZeroDivisionError("division by zero"),
            "haclient: (70) haclient itself failed: ZeroDivisionError: division by zero; please report it",
        ),
        (AssertionError(), "haclient: (70) haclient itself failed: AssertionError: AssertionError; please report it"),
        (KeyboardInterrupt(), "haclient: (130) interrupted"),
        (CommandError("-X 'a b': a method is one word"), "haclient: (2) -X 'a b': a method is one word"),
    ],
)  # fmt: skip
def test_the_line(error: BaseException, line: str) -> None:
    assert error_line(error) == line


def test_a_request_that_may_have_been_executed_is_not_to_be_sent_again_blindly() -> None:
    error = errors.ServerDiedError("it broke off", may_have_been_processed=True)

    assert error_line(error) == (
        "haclient: (52) it broke off. Try again, or name another server with --backup"
    )
    assert error_line(error, is_idempotent=False) == (
        "haclient: (52) it broke off. Find out whether the request was executed before it is sent "
        "again; where the servers honour keys, --idempotency-key lets haclient send it again"
    )
    late = errors.DeadlineError("no answer", may_have_been_processed=True)
    assert error_line(late, is_idempotent=False) == (
        "haclient: (28) no answer. Find out whether the request was executed before it is sent "
        "again; allow it more with -m"
    )


@dataclass(frozen=True)
class Case:
    """What a server does, the options, curl's code, and ours where it differs on purpose."""

    answer: bytes | None
    options: tuple[str, ...]
    curls: int
    error: BaseException | None
    is_reset: bool = False
    differs: bool = False


HEAD = b"HTTP/1.1 200 OK\r\n"
MET = {
    "an answer": Case(OK, (), 0, None),
    "nothing": Case(None, (), 52, died(Phase.WAITING)),
    "a reset": Case(None, (), 56, died(Phase.WAITING, evidence=RESET), is_reset=True),
    "garbage": Case(b"garbage\r\n\r\n", (), 1, errors.ProtocolError("x", stage=Phase.WAITING)),
    "an SSH server": Case(b"SSH-2.0-x\r\n", (), 1, errors.ProtocolError("x", stage=Phase.WAITING)),
    "a status that is none": Case(
        b"HTTP/1.1 abc\r\n\r\n", (), 1, errors.ProtocolError("x", stage=Phase.WAITING)
    ),
    "half a status line": Case(b"HTTP/1.1 20", (), 52, died(Phase.WAITING)),
    "a bad length": Case(
        HEAD + b"Content-Length: x\r\n\r\n",
        (),
        8,
        errors.ProtocolError("x", stage=Phase.WAITING),
        differs=True,
    ),
    "half a head": Case(HEAD + b"A: b\r\n", (), 0, died(Phase.WAITING), differs=True),
    "half the content": Case(HEAD + b"Content-Length: 9\r\n\r\nabc", (), 18, died(Phase.RECEIVING)),
    "half of chunked content": Case(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", (), 18, died(Phase.RECEIVING)
    ),
    "a bad chunk": Case(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        (),
        56,
        errors.ProtocolError("x", stage=Phase.RECEIVING),
    ),
    "a reset within the content": Case(
        HEAD + b"Content-Length: 9\r\n\r\nabc",
        (),
        56,
        died(Phase.RECEIVING, evidence=RESET),
        is_reset=True,
    ),
    "a full disk": Case(OK, ("-o", "/dev/full"), 23, OSError(28, "No space left on device")),
    "no such directory": Case(OK, ("-o", "/nowhere/x"), 23, FileNotFoundError(2, "No such file")),
    "a file of -T that is not there": Case(OK, ("-T", "/nowhere"), 26, CommandError("x", 26)),
    "a --resolve that is none": Case(OK, ("--resolve", "h"), 49, CommandError("x", 49)),
    "two methods": Case(OK, ("-I", "-d", "x"), 2, CommandError("x")),
    "no such option": Case(OK, ("--no-such-option",), 2, CommandError("x")),
}


@needs_curl
@pytest.mark.parametrize("case", MET.values(), ids=MET.keys())
def test_curl_exits_with_the_same(case: Case) -> None:
    def answer(number: int, connection: socket.socket, head: bytes) -> bytes | None:
        if case.answer is not None:
            connection.sendall(case.answer)
        if case.is_reset:
            # What was sent is read before the reset arrives, as it would be on a network.
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                connection.recv(1)
            abort(connection)
        return None

    with recording(answer) as recorder:
        ran = curl([*case.options, recorder.url + "/"])

    assert ran.returncode == case.curls, ran.stderr
    ours = 0 if case.error is None else exit_code_for(case.error)
    assert (ours != case.curls) is case.differs


@needs_curl
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["http://127.0.0.1:1/"], 7),
        (["http://a b/"], 3),
        (["ftpx://h.test/"], 1),
        (["--cacert", "/nowhere", "https://127.0.0.1:1/"], 7),
        (["--unix-socket", "/nowhere", "http://h.test/"], 7),
        (["-x", "http://127.0.0.1:1", "http://h.test/"], 7),
        (["-x", "foo://127.0.0.1:1", "http://h.test/"], 7),
        (["-x", "http://127.0.0.1:99999", "http://h.test/"], 5),
    ],
)
def test_curl_without_a_server(words: list[str], code: int, tmp_path: Path) -> None:
    """The rest of the table in the module's docstring."""
    assert curl(words, cwd=tmp_path).returncode == code
