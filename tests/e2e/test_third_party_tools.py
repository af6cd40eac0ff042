"""curl and wget through the sidecar: what they get directly, they get through it.

Each test runs twice, against the origin itself and against the sidecar in front of it, so that a
test which asks for what the origin does not do fails for what it is.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command import needs_command
from tests.support.echo_server import FILE, FILE_BYTES, echo_server, noise
from tests.support.plays import answer, on_head
from tests.support.recorder import Recorder, curl, needs_curl, recording
from tests.support.sidecar import Sidecar, sidecar

pytestmark = needs_curl

WGET = shutil.which("wget")
needs_wget = pytest.mark.skipif(WGET is None, reason="wget is not installed")

WAYS = ["direct", pytest.param("sidecar", marks=needs_command)]


@pytest.fixture(scope="module", params=WAYS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The echo server, or the sidecar in front of it."""
    with echo_server() as origin:
        if request.param == "direct":
            yield origin
            return
        with sidecar(origin) as door:
            yield door.url


@pytest.fixture(params=WAYS)  # for each test: what the sidecar pools is open in this process
def plays(request: pytest.FixtureRequest) -> Iterator[tuple[str, Recorder]]:
    """A server that answers to the byte, or the sidecar in front of it; and what came in."""
    with recording(answer, on_head=on_head) as origin:
        if request.param == "direct":
            yield origin.url, origin
            return
        with sidecar(origin.url) as door:
            yield door.url, origin


@dataclass(frozen=True)
class Got:
    """What curl received: every head, as one, and the content."""

    head: str
    content: bytes

    def __getitem__(self, name: str) -> str | None:
        """The last field of this name."""
        lines = [line.partition(": ") for line in self.head.splitlines()]
        values = [value for field, _, value in lines if field.lower() == name.lower()]
        return values[-1] if values else None


def got(folder: Path, *words: str | Path, stdin: bytes = b"") -> Got:
    """Runs curl, which has to end well."""
    heads = folder / "heads"
    ran = curl(["-D", heads, *words], stdin=stdin, cwd=folder)
    assert (ran.returncode, ran.stderr) == (0, b"")
    return Got(heads.read_text(), ran.stdout)


def test_get(url: str, tmp_path: Path) -> None:
    assert got(tmp_path, f"{url}/lines/3").content == b"line 0\nline 1\nline 2\n"


def test_post(url: str, tmp_path: Path) -> None:
    back = got(tmp_path, "-d", "a=1&b=2", f"{url}/echo")
    assert back.content == b"a=1&b=2"
    assert (back["x-method"], back["x-framing"]) == ("POST", "counted")


def test_the_path_and_query_are_not_touched(url: str, tmp_path: Path) -> None:
    target = "/echo?q=%2f%20+&&=;a[]=%7e~"
    assert got(tmp_path, "-g", url + target)["x-raw-path"] == target


def test_a_chunked_upload_stays_chunked(url: str, tmp_path: Path) -> None:
    content = noise(300_000)
    back = got(tmp_path, "-T", "-", f"{url}/echo", stdin=content)
    assert back.content == content
    assert (back["x-framing"], back["transfer-encoding"]) == ("chunked", "chunked")


@pytest.mark.parametrize("expects", [[], ["-H", "Expect: 100-continue"]])
def test_an_answer_flows_while_the_upload_does(
    url: str, tmp_path: Path, expects: list[str]
) -> None:
    # RFC 9112, section 9.3: an answer that comes early and does not say "close" ends no upload.
    content = noise(2 << 20)
    back = got(tmp_path, *expects, "-T", "-", f"{url}/duplex", stdin=content)
    assert back.content == content


def test_a_large_upload_waits_for_100_continue(url: str, tmp_path: Path) -> None:
    content = noise(2 << 20)
    (tmp_path / "content").write_bytes(content)
    back = got(tmp_path, "-T", "content", "-H", "Expect: 100-continue", f"{url}/echo")
    assert back.head.startswith("HTTP/1.1 100 Continue")
    assert back.content == content


def test_an_early_answer_to_an_expectation_saves_the_upload(
    plays: tuple[str, Recorder], tmp_path: Path
) -> None:
    (tmp_path / "content").write_bytes(noise(2 << 20))
    words = ["-T", "content", "-H", "Expect: 100-continue", f"{plays[0]}/too-large"]
    back = got(tmp_path, *words, "-w", "%{size_upload}")
    assert (back.head.split()[1], back.content) == ("413", b"much0")


def test_head(url: str, tmp_path: Path) -> None:
    back = got(tmp_path, "-I", f"{url}/file")
    assert back["content-length"] == str(FILE_BYTES)


def test_http_1_0(url: str, tmp_path: Path) -> None:
    back = got(tmp_path, "-0", f"{url}/lines/3")
    assert back.content == b"line 0\nline 1\nline 2\n"
    assert back["transfer-encoding"] is None


def test_a_range(url: str, tmp_path: Path) -> None:
    back = got(tmp_path, "-r", "1000-1999", f"{url}/file")
    assert back.content == FILE[1000:2000]
    assert back["content-range"] == f"bytes 1000-1999/{FILE_BYTES}"


def test_a_mebibyte_is_the_same_to_the_byte(url: str, tmp_path: Path) -> None:
    assert got(tmp_path, f"{url}/file").content == FILE
    (tmp_path / "content").write_bytes(FILE)
    assert got(tmp_path, "--data-binary", "@content", f"{url}/echo").content == FILE


def test_one_connection_serves_both(url: str, tmp_path: Path) -> None:
    words = ["--http1.1", "-o", "1", "-o", "2", "-w", r"%{num_connects} %{http_code}\n"]
    back = got(tmp_path, *words, f"{url}/lines/1", f"{url}/file")
    assert back.content == b"1 200\n0 200\n"
    assert (tmp_path / "2").read_bytes() == FILE


def test_a_trailer(plays: tuple[str, Recorder], tmp_path: Path) -> None:
    back = got(tmp_path, f"{plays[0]}/trailer")
    assert (back.content, back["x-sum"]) == (b"some", "1")


def test_early_hints(plays: tuple[str, Recorder], tmp_path: Path) -> None:
    back = got(tmp_path, f"{plays[0]}/hints")
    assert back.head.startswith("HTTP/1.1 103 ")
    assert (back["link"], back.content) == ("</a.css>", b"some content")


@pytest.mark.parametrize("path", ["short", "short-chunked", "reset-within"])
def test_an_answer_that_breaks_off_is_never_whole(plays: tuple[str, Recorder], path: str) -> None:
    ran = curl(["-d", "x", f"{plays[0]}/{path}"])
    assert ran.returncode in {18, 56}  # partial, or a failure to receive
    assert ran.stdout == path.partition("-")[0].encode()[: len(ran.stdout)]


def test_a_server_that_hangs_up_is_an_error(plays: tuple[str, Recorder]) -> None:
    ran = curl(["-f", "-d", "x", f"{plays[0]}/nothing"])
    assert ran.returncode == (52 if plays[0] == plays[1].url else 22)  # directly, or as a 502


def test_names_of_fields_keep_their_letters(plays: tuple[str, Recorder], tmp_path: Path) -> None:
    url, origin = plays
    back = got(tmp_path, "-H", "X-oNe: 1", "-H", "x-TWO: 2", "-H", "X-oNe: 3", f"{url}/twice")
    assert "X-A: one\nx-a: Two\n" in back.head.replace("\r", "")
    sent = origin.requests[-1].head
    assert b"\r\nX-oNe: 1\r\nx-TWO: 2\r\nX-oNe: 3\r\n" in sent


@pytest.fixture(scope="module")
def door() -> Iterator[Sidecar]:
    with echo_server() as origin, sidecar(origin) as opened:
        yield opened


@needs_command
def test_the_door_on_a_unix_socket(door: Sidecar, tmp_path: Path) -> None:
    way = ("--unix-socket", str(door.unix_socket))
    assert got(tmp_path, *way, "http://localhost/file").content == FILE
    assert got(tmp_path, *way, "-d", "a=1", "http://localhost/echo").content == b"a=1"


@needs_command
def test_many_curls_at_once(door: Sidecar, tmp_path: Path) -> None:
    words = ["--parallel", "--parallel-max", "50", "-o", "#1", f"{door.url}/file?[1-100]"]
    ran = subprocess.run(
        ["curl", "-q", "-sS", "-m", "30", *words], capture_output=True, check=False, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert all((tmp_path / str(n)).read_bytes() == FILE for n in range(1, 101))


def wget(folder: Path, *words: str) -> bytes:
    """Runs wget, which has to end well; returns its standard output."""
    assert WGET is not None
    ran = subprocess.run(
        [WGET, "--no-config", "--no-proxy", "-q", "-T", "5", "-t", "1", *words],
        capture_output=True,
        check=False,
        cwd=folder,
        timeout=20,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    return ran.stdout


@needs_wget
def test_wget_gets(url: str, tmp_path: Path) -> None:
    assert wget(tmp_path, "-O", "-", f"{url}/lines/2") == b"line 0\nline 1\n"
    assert wget(tmp_path, "-O", "-", f"{url}/file") == FILE


@needs_wget
def test_wget_posts(url: str, tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(FILE)
    assert wget(tmp_path, "-O", "-", "--post-file=content", f"{url}/echo") == FILE


@needs_wget
def test_wget_continues_where_it_was(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(FILE[:700_000])
    wget(tmp_path, "-c", f"{url}/file")
    assert (tmp_path / "file").read_bytes() == FILE
