"""What can be wrong with a command line, a file, a server: one line each, and curl's exit code.

The line says what happened, where, and what to do, once; nothing else is on stderr, least of all a
traceback. That the codes are curl's is shown in test_curl_parity.py, where curl runs beside it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command import COMMAND, environment, haclient, needs_command
from tests.support.stage import Stage

pytestmark = needs_command

# Row: exit code, what happened, where (a text or a place of the stage), what to do.
LINES: dict[str, tuple[str, int, str, str, str]] = {
    # --- the URL ---
    "a space in the host": (
        "'http://a b/'", 3, "a space", "'http://a b/' is malformed at character 9", "write %20",
    ),
    "an unknown scheme": (
        "foo://h.test/", 1, "scheme 'foo'", "'foo://h.test/'", "begin it with http:// or https://",
    ),
    "port 0": ("http://h.test:0/", 3, "the port '0'", "'http://h.test:0/'", "from 1 to 65535"),
    "a port that is too high": (
        "http://h.test:65536/", 3, "the port '65536'", "'http://h.test:65536/'", "from 1 to 65535",
    ),
    "no host": ("http:///", 3, "no host", "'http:///'", "write http://HOST/PATH"),
    "half an IPv6 address": (
        "'http://[::1/'", 3, "not closed", "'http://[::1/'", "write it as [::1]:PORT",
    ),
    "a password in a URL that is malformed": (
        "'http://me:secret@a b/'", 3, "a space", "'http://***@a b/'", "write %20",
    ),
    "a redirect to another scheme": (
        "-L URL/to-ftp", 1, "scheme 'foo'", "URL/to-ftp", "begin it with http:// or https://",
    ),
    "a redirect without end": (
        "-L --max-redirs 2 URL/loop", 47, "after 2 redirects", "URL/loop", "See where it goes with -v",
    ),
    # --- files ---
    "a form's file that is not there": (
        "-d @nowhere URL/", 26, "No such file", "'nowhere'", "check its name and permissions",
    ),
    "a form's file that is a directory": (
        "-d @/ URL/", 26, "Is a directory", "'/'", "check its name and permissions",
    ),
    "an upload that is not there": (
        "-T nowhere URL/", 26, "No such file", "'nowhere'", "check its name and permissions",
    ),
    "a field file that is not there": (
        "-H @nowhere URL/", 26, "No such file", "'nowhere'", "check its name and permissions",
    ),
    "an output in a directory that is not there": (
        "-o nowhere/x URL/", 23, "No such file", "'nowhere/x'", "make its directory first",
    ),
    "a full disk": (
        "-o /dev/full URL/", 23, "No space left", "'/dev/full'", "make room there",
    ),
    "a full disk, with much to write": (
        "-o /dev/full URL/mebibyte", 23, "No space left", "'/dev/full'", "make room there",
    ),
    "a name for the file that the URL lacks": (
        "-O URL/dir/", 23, "no file name", "URL/dir/", "give one with -o",
    ),
    "a trace file that cannot be": (
        "--trace-json nowhere/x URL/", 23, "No such file", "'nowhere/x'", "name another one",
    ),
    "an authority's file that is not there": (
        "--cacert nowhere TLS/", 77, "no such file", "file nowhere", "--cacert",
    ),
    "an authority's file that is none": (
        "--cacert plain.txt TLS/", 77, "not valid PEM", "file plain.txt", "--cacert",
    ),
    "a certificate that is not there": (
        "-k -E nowhere TLS/", 58, "no such file", "certificate file nowhere", "--cert",
    ),
    "a certificate that is none": (
        "-k -E plain.txt TLS/", 58, "not valid PEM", "certificate file plain.txt", "--cert",
    ),
    "a key that is not there": (
        "-k -E CA --key nowhere TLS/", 58, "no such file", "key file nowhere", "--key",
    ),
    "a file of settings that is not there": (
        "--config nowhere --target x /", 78, "No such file", "nowhere", "name the configuration file with --config",
    ),
    "a file of settings that is none": (
        "--config plain.txt --target x /", 78, "not TOML", "plain.txt", "mend it",
    ),
    # --- options ---
    "an option that is none": (
        "--silnt URL/", 2, "unknown", "--silnt", "did you mean --silent?",
    ),
    "a duration that is none": (
        "--window soon URL/", 2, "no duration", "'soon'", 'write "250ms"',
    ),
    "no window at all": (
        "--window 0 URL/", 2, "leaves no time", "--window", "write 4s",
    ),
    "a field that is none": ("-H 'a b' URL/", 2, "-H", "'a b'", "write 'Name: value'"),
    "a method that is none": ("-X 'A B' URL/", 2, "-X", "'A B'", "as GET or PURGE"),
    "two methods": ("-I -d x URL/", 2, "different methods", "-d and -I", "give one of them"),
    "a --resolve that is none": ("--resolve h URL/", 49, "cannot be read", "'h'", "HOST:PORT:ADDRESS"),
    "no URL": ("-s", 2, "no URL", "haclient request", "write 'haclient request [options] URL'"),
    "a proxy of an unknown kind": (
        "-x socks5://h.test URL/", 7, "not supported", "'socks5'", "use an http:// proxy",
    ),
    # --- servers ---
    "nobody listens": ("http://CLOSED/", 7, "refused", "CLOSED", "Check that the server runs"),
    "nobody listens at any address": (
        "--resolve h.test:PORT:127.0.0.8,127.0.0.9 http://h.test:PORT/",
        7, "refused", "127.0.0.8:PORT", "Check that the server runs",
    ),
    "nobody listens at the socket": (
        "--unix-socket nowhere http://h.test/", 7, "No such file", "nowhere", "Check that the server runs",
    ),
    "the proxy is not there": (
        "-x http://CLOSED http://h.test/", 7, "refused", "through the proxy http://CLOSED", "Check",
    ),
    "the proxy refuses": (
        "-x PROXY https://forbidden.test/", 56, "403", "https://forbidden.test", "what the proxy allows",
    ),
    "an address of the other family": (
        "-4 http://[::1]/", 6, "no IPv4 address", "::1", "Leave -4 out",
    ),
    "an authority that nobody trusts": (
        "TLS/", 60, "unable to get local issuer", "TLS", "--cacert",
    ),
    "a certificate for another name": (
        "--cacert CA --resolve evil.test:TLSPORT:127.0.0.1 https://evil.test:TLSPORT/",
        60, "not valid for 'evil.test'", "https://evil.test:TLSPORT", "Check its names and dates",
    ),
    "a plain server where TLS is wanted": (
        "https://HOST/", 35, "TLS handshake failed", "HOST", "Check that the port speaks TLS",
    ),
    "a TLS server where it is not": (
        "http://127.0.0.1:TLSPORT/", 56, "closed", "127.0.0.1:TLSPORT", "Try again",
    ),
    "nothing": ("URL/nothing", 52, "closed while waiting", "HOST", "Try again"),
    "a reset": ("URL/reset", 56, "connection reset", "HOST", "Try again"),
    "garbage": (
        "URL/garbage", 1, "no HTTP: b'This is no HTTP at all", "HOST", "Check that a server of HTTP/1.1",
    ),
    "two lengths": ("URL/two-lengths", 1, "conflicting Content-Length", "HOST", "Check that a server"),
    "an endless line": ("URL/endless-line", 56, "a head of more than 65536 bytes", "HOST", "Try again"),
    "an endless head": ("URL/endless-head", 56, "a head of more than 65536 bytes", "HOST", "Try again"),
    "endless interim heads": ("URL/endless-interim", 56, "more than 32 interim", "HOST", "Try again"),
    "half a head": ("URL/half-head", 52, "closed while waiting", "HOST", "Try again"),
    "half the content": ("URL/short", 18, "closed while receiving", "HOST", "is not the whole"),
    "half the content, in chunks": (
        "URL/short-chunked", 18, "closed while receiving", "HOST", "is not the whole",
    ),
    "half the content, over TLS": (
        "-k TLS/short", 18, "without TLS's close_notify", "127.0.0.1:TLSPORT", "is not the whole",
    ),
    "content without a length, cut short over TLS": (
        "-k TLS/until-close", 18, "without TLS's close_notify", "127.0.0.1:TLSPORT", "is not the whole",
    ),
    "a reset within the content": ("URL/reset-within", 56, "connection reset", "HOST", "Try again"),
    "a bad chunk": ("URL/bad-chunk", 56, "b'zz' is no chunk size", "HOST", "Try again"),
    "silence": ("-m 0.5 URL/silence", 28, "within the 0.5 s of -m", "HOST", "Allow more with -m"),
    "silence within the content": ("-m 0.5 URL/stall", 28, "5 bytes of content", "HOST", "Allow more with -m"),
    "a POST in doubt": (
        "-d x URL/nothing", 52, "may have executed", "HOST", "--idempotency-key",
    ),
    "a POST in doubt for want of time": (
        "-d x -m 0.5 URL/silence", 28, "within the 0.5 s", "HOST", "Find out whether",
    ),
    "a status with -f": (
        "-f URL/status/404", 22, "404 As Asked", "URL/status/404", "leave -f out",
    ),
    "a status with --fail-with-body": (
        "--fail-with-body URL/status/503", 22, "503 As Asked", "URL/status/503", "in the output",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_was_sent(stage: Stage) -> None:
    stage.sent()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plain.txt").write_text("no PEM, no TOML\n")
    return tmp_path


@pytest.mark.parametrize(
    ("row", "code", "what", "where", "remedy"), LINES.values(), ids=LINES.keys()
)
def test_one_line_says_what_where_and_what_to_do(
    row: str, code: int, what: str, where: str, remedy: str, stage: Stage, folder: Path
) -> None:
    ran = haclient(["request", *stage.words_of(row)], cwd=folder)

    told = ran.stderr.decode()
    assert (ran.returncode, told.count("\n"), told[-1:]) == (code, 1, "\n"), told
    assert told.startswith(f"haclient: ({code}) ")
    [where] = stage.words_of(f'"{where}"')
    for part in (what, where, remedy):
        assert part in told
    assert told.count(remedy) == 1
    assert "secret" not in told


@pytest.mark.parametrize("path", ["short", "short-chunked", "reset-within", "bad-chunk"])
def test_what_came_of_a_response_is_written_and_never_called_whole(
    path: str, stage: Stage, folder: Path
) -> None:
    words = ["-o", "part", "-w", "%{http_code} %{size_download} %{exitcode} %{attempts}"]
    ran = haclient(["request", *words, f"{stage.places['URL']}/{path}"], cwd=folder)

    part = (folder / "part").read_bytes()
    assert ran.returncode in {18, 56}
    assert ran.stdout.decode() == f"200 {len(part)} {ran.returncode} 1"
    assert 0 < len(part) < 9


# --- streams that are not there ------------------------------------------------------------------


def shell(
    script: str, *words: str | Path, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command in a shell, which can do to its streams what subprocess cannot: "$@" is it."""
    return subprocess.run(
        ["bash", "-c", script, "bash", COMMAND, "request", *words],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=30,
        env=environment(),
    )


def test_a_reader_that_leaves_early_ends_it_without_a_word(stage: Stage) -> None:
    ran = shell('"$@" | head -c 1; exit ${PIPESTATUS[0]}', f"{stage.places['URL']}/mebibyte")

    assert (ran.returncode, ran.stdout, ran.stderr) == (23, b"0", b"")


def test_a_reader_of_stderr_that_leaves_early_does_not_harm_the_answer(stage: Stage) -> None:
    script = 'exec 3>&1; "$@" 2>&1 >&3 | head -c 1 >&2; exit ${PIPESTATUS[0]}'
    ran = shell(script, "-v", f"{stage.places['URL']}/mebibyte")

    assert (ran.returncode, len(ran.stdout), ran.stderr) == (0, 1 << 20, b"*")


@pytest.mark.parametrize(
    ("script", "row", "code", "told"),
    [
        ('"$@" >&-', "URL/", 23, "the output cannot be written: Bad file"),
        ('"$@" >&-', "-o FILE URL/", 0, ""),
        ('"$@" >&-', "-I URL/", 23, "the output cannot be written: Bad file"),
        ('"$@" >/dev/full', "URL/mebibyte", 23, "the output cannot be written: No space left"),
        ('"$@" <&-', "URL/", 0, ""),
        ('"$@" <&-', "-d @- URL/", 26, "stdin cannot be read: Bad file"),
        ('"$@" <&-', "-T - URL/", 26, "content could not be read"),
        ('"$@" <&-', "-u me URL/", 2, "-u me: no password; write USER:PASSWORD"),
        ('"$@" 2>&-', "-v --trace URL/", 0, ""),
        ('"$@" 2>&-', "http://CLOSED/", 7, ""),
        ('"$@" 2>&- >&- <&-', "http://CLOSED/", 7, ""),
    ],
    ids=[
        "stdout",
        "stdout, where it is not needed",
        "stdout, for a head",
        "stdout, on a full disk",
        "stdin, where it is not needed",
        "stdin, with a form",
        "stdin, to be uploaded",
        "stdin, that a password would come from",
        "stderr, where there is much to tell",
        "stderr, where there is an error",
        "all of them",
    ],
)  # fmt: skip
def test_a_stream_that_is_closed(
    script: str, row: str, code: int, told: str, stage: Stage, folder: Path
) -> None:
    ran = shell(script, *stage.words_of(row.replace("FILE", str(folder / "file"))))

    assert ran.returncode == code, ran.stderr
    assert told in ran.stderr.decode()
    assert ran.stderr.count(b"\n") == (told != "")


# --- interrupts ----------------------------------------------------------------------------------

WITHIN = 1.0
"""Seconds from SIGINT to the end."""


@contextmanager
def running(*words: str | Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process of its own; it is not left behind."""
    process = subprocess.Popen(
        [COMMAND, "request", *words],
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[bytes]) -> tuple[float, int, bytes]:
    """Sends SIGINT; returns the seconds until the end, the exit code, and what was told."""
    started = time.perf_counter()
    process.send_signal(signal.SIGINT)
    process.wait(10)
    took = time.perf_counter() - started
    assert process.stderr is not None
    return took, process.returncode, process.stderr.read()


def wait_for(condition: Callable[[], object], within: float = 10.0) -> None:
    deadline = time.perf_counter() + within
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.005)  # noqa: TID251  (another process, in real time)


def unread(descriptor: int) -> int:
    """Bytes in a pipe."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), "little")


def test_an_interrupt_while_a_request_is_outstanding(stage: Stage) -> None:
    with running(f"{stage.places['URL']}/silence") as process:
        wait_for(lambda: stage.doors[0].requests)
        took, code, told = interrupt(process)

    assert (code, told) == (130, b"")
    assert took < WITHIN


def test_an_interrupt_while_stdin_is_read(stage: Stage) -> None:
    with running("-d", "@-", stage.places["URL"]) as process:
        assert process.stdin is not None
        descriptor = process.stdin.fileno()
        os.write(descriptor, b"the beginning")
        wait_for(lambda: not unread(descriptor))
        took, code, told = interrupt(process)

    assert (code, told) == (130, b"")
    assert took < WITHIN


def test_an_interrupt_while_stdin_is_uploaded(stage: Stage) -> None:
    with running("-T", "-", "-H", "Expect:", stage.places["URL"]) as process:
        assert process.stdin is not None
        descriptor = process.stdin.fileno()
        os.write(descriptor, b"the beginning")
        wait_for(lambda: not unread(descriptor))
        took, code, told = interrupt(process)
    wait_for(lambda: stage.sent()[0])

    assert (code, told) == (130, b"")
    assert took < WITHIN


def test_an_interrupt_while_the_reader_of_stdout_is_slow(stage: Stage) -> None:
    with running(f"{stage.places['URL']}/mebibyte") as process:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 4096)
        wait_for(lambda: unread(descriptor) == 4096)
        took, code, told = interrupt(process)

    assert (code, told) == (130, b"")
    assert took < WITHIN


def test_an_interrupt_while_a_pipe_to_upload_has_no_writer(stage: Stage, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with running("-T", folder / "pipe", stage.places["URL"]) as process:
        wait_for(lambda: b"wait_for_partner" in Path(f"/proc/{process.pid}/wchan").read_bytes())
        took, code, told = interrupt(process)

    assert (code, told) == (130, b"")
    assert took < WITHIN


@pytest.mark.parametrize("after", [0.0, 0.03, 0.06, 0.09, 0.12])
def test_an_interrupt_at_any_moment_of_the_start_leaves_no_traceback(
    after: float, stage: Stage
) -> None:
    """Before the entry point has begun it is the interpreter's: Python tells of each module that it has imported."""
    url = f"{stage.places['URL']}/silence"
    with running(url, PYTHONPROFILEIMPORTTIME="1") as process:
        assert process.stderr is not None
        while not (line := process.stderr.readline()).endswith(b" haclient.ops.main\n"):
            assert line
        process.stderr.readline()  # one that the entry point has imported
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(after)
        took, code, told = interrupt(process)

    assert code == 130
    assert [line for line in told.splitlines() if not line.startswith(b"import time:")] == []
    assert took < WITHIN


def test_an_answer_before_the_end_of_stdin_ends_it(stage: Stage) -> None:
    """A thread still waits for stdin then; it must not keep the process, nor bring it down."""
    with running("-T", "-", f"{stage.places['URL']}/too-large") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        code = process.wait(5)
        told = process.stdout.read(), process.stderr.read()

    assert (code, *told) == (0, b"much", b"")


def test_an_answer_in_the_midst_of_an_upload_of_stdin_ends_it(stage: Stage) -> None:
    with running("-T", "-", "-H", "Expect:", f"{stage.places['URL']}/early") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        os.write(process.stdin.fileno(), b"the beginning")
        code = process.wait(5)
        told = process.stdout.read(), process.stderr.read()

    assert (code, *told) == (0, b"early", b"")
