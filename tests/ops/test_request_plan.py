"""The same bytes as curl: each row of the table is sent by curl and composed by haclient."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from haclient._version import __version__
from haclient.core.url import Url, parse_url
from haclient.errors import UrlError
from haclient.ops.command_line import CommandError
from haclient.ops.content import Content, InlineContent, LocalFile, StandardInput
from haclient.ops.options import parse_options
from haclient.ops.request_plan import EXPECT_ABOVE, Kind, RequestPlan, compose, read_intent
from tests.support.recorder import curl, needs_curl, recording, unchunked

FILES = {
    "form.txt": b"a=1\r\nb=2\n\nc",
    "binary": b"\x00\x01\r\n\xff",
    "empty": b"",
    "limit": b"x" * EXPECT_ABOVE,
    "beyond": b"x" * (EXPECT_ABOVE + 1),
    "a b#?é.txt": b"q",
    "fields": b"X-A: 1\n# a comment\nX-B:\nX-C;\n\nUser-Agent: another\r\n",
}

# Each row is a command line; "URL" stands for the server's, stdin holds STDIN.
SAME = [
    "URL/",
    "URL",
    "URL?x=1",
    "URL/a/../b/./c#fragment",
    "URL/é",
    "URL/a%20b?c=%zz&d='\"<>[]{}|^`'",
    "-X PUT URL/",
    "-XPURGE URL/cache",
    "-X POST URL/",
    "-X get URL/",
    "-X FOO -d x URL/",
    "-X HEAD URL/",
    "-X GET -I URL/",
    "-I URL/",
    "-I -r 0-9 URL/",
    # -H
    "-H X-A:1 -H x-b:2 URL/",
    "-H 'X-A: 1' -H 'x-b: 2' -H 'X-A: 3' URL/",
    "-H 'Accept: text/plain' URL/",
    "-H Accept: URL/",
    "-H 'Accept;' URL/",
    "-H User-Agent: URL/",
    "-H 'User-Agent: me' URL/",
    "-H 'Host: other.test' URL/",
    "-H 'Host: a' -H 'Host: b' URL/",
    "-H 'host;' URL/",
    "-H 'X-C;' -H 'X-D:' URL/",
    "-H 'X: a:b;c' URL/",
    "-H 'X: é' URL/",
    "-H @fields -H 'Z: 1' URL/",
    "-H @- URL/",
    "-H 'Connection: close' URL/",
    "-H '' URL/",
    # -A, -e, -r, -u, -b
    "-A me URL/",
    "-A '' URL/",
    "-A me -H 'User-Agent: you' URL/",
    "-e http://from.test/ URL/",
    "-e 'http://from.test/;auto' URL/",
    "-e ';auto' URL/",
    "-e 'a;b' URL/",
    "-e x -H 'Referer: y' URL/",
    "-r 0-499 URL/",
    "-r 5 URL/",
    "-r -5 URL/",
    "-r 0-1,3-4 URL/",
    "-r 0-1 -H 'Range: bytes=5-' URL/",
    "-r 0-1 -d x URL/",
    "-r 0-1 -T form.txt URL/x",
    "-u me:secret URL/",
    "-u me: URL/",
    "-u :secret URL/",
    "-u é:p:q URL/",
    "-u me:secret -H Authorization: URL/",
    "-u me:secret -H 'Authorization: Bearer x' URL/",
    "http://u:p%20%3aw@HOST/",
    "http://u@HOST/",
    "http://@HOST/",
    "-u a:b http://u:p@HOST/",
    "-b a=1 URL/",
    "-b 'a=1; b=2' -b c=3 URL/",
    "-b a=1 -H 'Cookie: c=3' URL/",
    "-b a=1 -H Cookie: URL/",
    # -d and its kin
    "-d a=1 URL/",
    "-d '' URL/",
    "-d a=1 -d b=2 -d@form.txt URL/",
    "-da=1 -d=2 -d -3 URL/",
    "-d @- URL/",
    "-d '' -d b URL/",
    "-d 'é' URL/",
    "--data-raw @form.txt URL/",
    "--data-binary @binary URL/",
    "--data-binary @limit URL/",
    "--data-binary @beyond URL/",
    "--data-binary @beyond -H Expect: URL/",
    "-d x -H 'Expect: 100-continue' URL/",
    "-d x -H 'Content-Type: text/plain' URL/",
    "-d x -H Content-Type: URL/",
    "-d x -H 'Content-Type;' URL/",
    "-d x -H 'Content-Length: 1' URL/",
    "-d x -H 'Transfer-Encoding: chunked' URL/",
    "-d x -H 'Transfer-Encoding: Chunked' URL/",
    "--data-binary @beyond -H 'Transfer-Encoding: chunked' URL/",
    "--data-urlencode 'a b&c' URL/",
    "--data-urlencode '=a b' URL/",
    "--data-urlencode name=é URL/",
    "--data-urlencode a=b=c URL/",
    "--data-urlencode @binary URL/",
    "--data-urlencode a/b@form.txt URL/",
    "--data-urlencode n@- URL/",
    "--data-urlencode '' URL/",
    '--data-urlencode "~-_.!*\'()" -d x URL/',
    # --json
    "--json {} URL/",
    "--json [ --json ] URL/",
    "--json @form.txt URL/",
    "-d x --json {} URL/",
    "--json {} -d x URL/",
    "--json '' -d x URL/",
    "--json {} -X PUT URL/",
    "--json {} -H 'X: 1' URL/",
    "-H 'X: 1' --json {} -H 'Y: 2' URL/",
    "--json {} -H 'Content-Type: x/y' -H 'Accept: q' URL/",
    "--json {} -H 'accept: q' URL/",
    "--json {} -H Content-Type: URL/",
    "--json {} -H 'Content-Type;' URL/",
    "--json {} -H Accept: URL/",
    # -G
    "-G -d a=1 -d b=2 URL/p",
    "-G -d a=1 URL/p?z=9#f",
    "-G -d a=1 URL",
    "-G -d a=1 URL/p?",
    "-G -d '&a' 'URL/p?x&'",
    "-G -d '' URL/p",
    "-G URL/p",
    "-G -I -d a=1 URL/p",
    "-G -X POST -d a=1 URL/p",
    "-G --data-urlencode 'a=b c/é~' -d k URL/p?x",
    "-G -d a#b URL/",
    "-G --json {} URL/",
    "-G -d x -H 'Content-Type: y' URL/",
    # -T
    "-T form.txt URL/up",
    "-T form.txt URL/",
    "-T form.txt URL",
    "-T form.txt URL/dir/?q=/",
    "-T form.txt URL?q",
    "-T form.txt URL/dir/#f/",
    "-T './a b#?é.txt' URL/dir/",
    "-T empty URL/up",
    "-T limit URL/up",
    "-T beyond URL/up",
    "-T form.txt -H Expect: URL/up",
    "-T form.txt -H 'Expect: 100-continue' URL/up",
    "-T form.txt -H 'Transfer-Encoding: chunked' URL/up",
    "-T form.txt -X POST URL/up",
    "-T - URL/up",
    "-T - URL/dir/",
    "-T . URL/up",
    "-T - -H 'Transfer-Encoding: chunked' URL/up",
    "-T /dev/null URL/up",
    "-T '' URL/",
    # all together
    "-u u:p -b a=b -A ag -e ref -r 0-1 -H 'X: 1' -H 'Accept: z' -d body -X PUT URL/",
    "-u u:p -b a=b -A ag -e ref -H 'X: 1' -T - URL/",
    "-sSf -XPATCH -HX-A:1 -d@form.txt -o /dev/null URL/p",
]

STDIN = b"X-L: 1\nX-M: 2\r\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with FILES, and the current one."""
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def no_password(user: str) -> str:
    raise AssertionError(f"a password was asked for {user!r}")


def plan_for(words: list[str], index: int = 0, base: Url | None = None) -> RequestPlan:
    intent, url = read_intent(
        parse_options(words), index, base=base, read_stdin=lambda: STDIN, ask_password=no_password
    )
    return compose(intent, url)


def content_of(content: Content | None) -> bytes:
    match content:
        case None:
            return b""
        case InlineContent():
            return content.data
        case LocalFile():
            return Path(content.path).read_bytes()
        case StandardInput():
            return STDIN


def canonical(head: bytes) -> bytes:
    """A head with haclient's name for curl's, and one space after each colon."""
    head = re.sub(
        rb"(?m)^User-Agent: curl/[^\r]*", f"User-Agent: haclient/{__version__}".encode(), head
    )
    return re.sub(rb"(?m)^([^ :\r]+):(?=[^ \r])", rb"\1: ", head)


@needs_curl
@pytest.mark.parametrize("row", SAME)
def test_the_same_bytes_as_curl(row: str, folder: Path) -> None:
    with recording() as recorder:
        text = row.replace("URL", recorder.url).replace("HOST", f"127.0.0.1:{recorder.port}")
        words = shlex.split(text)
        ran = curl(words, cwd=folder, stdin=STDIN)

        plan = plan_for(words)

    assert ran.returncode == 0, ran.stderr
    [received] = recorder.requests
    assert plan.head() == canonical(received.head)
    assert content_of(plan.content) == (
        unchunked(received.body) if plan.is_chunked else received.body
    )


REFUSED = {
    "a field with a line end": (
        ["-H", "X: a\r\nY: b"],
        "-H 'X: a\\r\\nY: b': a field value holds no '\\r'",
    ),
    "a field name with a space": (["-H", "X A: 1"], "'X A' is no field name"),
    "a field without a name": (["-H", ": 1"], "'' is no field name"),
    "a field without a colon": (["-H", "X-A"], "write 'Name: value', 'Name:' or 'Name;'"),
    "no Host": (["-H", "Host:"], "HTTP/1.1 needs a Host field"),
    "a user agent with a line end": (["-A", "a\nb"], "-A: a field value holds no '\\n'"),
    "a referer with a line end": (["-e", "a\nb"], "-e: a field value holds no"),
    "a cookie with a line end": (["-b", "a=1\nb"], "-b: a field value holds no"),
    "a method with a space": (["-X", "GET /x"], "-X 'GET /x': a method is one word"),
    "an empty method": (["-X", ""], "a method is one word"),
    "a length that is not the content's": (
        ["-d", "x", "-H", "Content-Length: 7"],
        "the content has 1 bytes",
    ),
    "a length that is no number": (
        ["-d", "x", "-H", "Content-Length: x"],
        "it is the length of the content",
    ),
    "a length without content": (["-H", "Content-Length: 3"], "it is the length of the content"),
    "content without a length": (
        ["-d", "x", "-H", "Content-Length:"],
        "it is the length of the content",
    ),
    "another coding": (["-d", "x", "-H", "Transfer-Encoding: gzip"], "only 'chunked' can be sent"),
    "stdin without a coding": (
        ["-T", "-", "-H", "Transfer-Encoding:"],
        "only 'chunked' can be sent",
    ),
    "chunks without content": (["-H", "Transfer-Encoding: chunked"], "without content"),
    "two framings": (
        ["-d", "x", "-H", "Transfer-Encoding: chunked", "-H", "Content-Length: 1"],
        "either Transfer-Encoding or Content-Length",
    ),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_nobody_should_send_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        plan_for([*words, "http://h.test/"])

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("words", "has_content"),
    [
        (["-H", "Transfer-Encoding:", "-d", "x"], True),
        (["-H", "Content-Length:"], False),
        (["-H", "Content-Length:", "-H", "Transfer-Encoding: chunked", "-d", "x"], True),
    ],
    ids=["no coding that would not be there", "no length of nothing", "chunks need no length"],
)
def test_removals_that_change_nothing(words: list[str], has_content: bool) -> None:
    plan = plan_for([*words, "http://h.test/"])

    names = [name.lower() for name, _ in plan.fields]
    assert (b"content-length" in names or b"transfer-encoding" in names) is has_content


def test_stdin_with_a_length_is_sent_without_chunks() -> None:
    plan = plan_for(["-T", "-", "-H", "Content-Length: 5", "http://h.test/up"])

    assert plan.content == StandardInput(5)
    assert not plan.is_chunked
    assert (b"Content-Length", b"5") in plan.fields


def test_stdin_as_a_range_does_not_name_a_length() -> None:
    plan = plan_for(["-T", "-", "-r", "0-1", "http://h.test/up"])

    assert (b"Content-Range", b"bytes 0-1/*") in plan.fields


def test_the_space_around_a_value_is_not_sent() -> None:
    plan = plan_for(["-H", "X:  \t a b \t", "http://h.test/"])

    assert (b"X", b"a b") in plan.fields


def test_a_space_in_the_query_of_get_is_refused_as_curl_refuses_it() -> None:
    with pytest.raises(UrlError, match="a space; write %20"):
        plan_for(["-G", "-d", "a b", "http://h.test/"])


def test_host_is_left_to_whom_it_is_sent_to() -> None:
    plan = plan_for(["http://h.test:81/x"])

    assert [name for name, _ in plan.fields] == [b"User-Agent", b"Accept"]
    assert plan.head().startswith(b"GET /x HTTP/1.1\r\nHost: h.test:81\r\n")


def test_an_own_host_comes_first() -> None:
    plan = plan_for(["-H", "X: 1", "-H", "Host: a", "-u", "u:p", "http://h.test/"])

    assert plan.fields[0] == (b"Host", b"a")


def test_the_password_is_asked_for_and_not_kept_in_the_url() -> None:
    asked: list[str] = []

    def ask(user: str) -> str:
        asked.append(user)
        return "secret"

    options = parse_options(["-u", "me", "http://u:p@h.test/"])
    intent, url = read_intent(options, 0, read_stdin=bytes, ask_password=ask)

    assert asked == ["me"]
    assert intent.credentials == (b"me", b"secret")
    assert str(url) == "http://h.test/"


def test_the_cookie_jar_comes_before_what_is_said() -> None:
    options = parse_options(["-b", "b=2", "http://h.test/"])
    intent, url = read_intent(options, 0, read_stdin=bytes, ask_password=no_password)

    assert (b"Cookie", b"a=1; b=2") in compose(intent, url, b"a=1").fields


def test_an_own_cookie_field_stands_beside_the_jar_as_in_curl() -> None:
    options = parse_options(["-b", "b=2", "-H", "Cookie: c=3", "http://h.test/"])
    intent, url = read_intent(options, 0, read_stdin=bytes, ask_password=no_password)

    cookies = [value for name, value in compose(intent, url, b"a=1").fields if name == b"Cookie"]
    assert cookies == [b"a=1", b"c=3"]


def test_an_idempotency_key_is_made_or_given() -> None:
    made = dict(plan_for(["--idempotency-key", "-d", "x", "http://h.test/"]).fields)
    given = dict(plan_for(["--idempotency-key=k-1", "-d", "x", "http://h.test/"]).fields)

    assert re.fullmatch(rb'"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"', made[b"Idempotency-Key"])
    assert given[b"Idempotency-Key"] == b"k-1"


def test_uploads_count_along_with_the_urls(folder: Path) -> None:
    words = ["-T", "form.txt", "http://h.test/", "http://h.test/b"]

    assert plan_for(words, 0).head().startswith(b"PUT /form.txt HTTP/1.1\r\n")
    assert plan_for(words, 1).head().startswith(b"GET /b HTTP/1.1\r\n")


def test_with_a_target_a_path_is_a_url() -> None:
    base = parse_url("http://orders.internal:8080")

    assert str(plan_for(["--target", "orders", "/v1/x?y"], base=base).url) == (
        "http://orders.internal:8080/v1/x?y"
    )
    assert str(plan_for(["--target", "orders", "h.test/x"], base=base).url) == "http://h.test/x"


@pytest.mark.parametrize(
    "option", ["-d", "--data-binary", "--data-urlencode", "--json", "-H", "-T"]
)
def test_a_file_that_is_not_there_is_a_read_error(option: str, folder: Path) -> None:
    value = "nowhere" if option == "-T" else "@nowhere"

    with pytest.raises(CommandError, match="'nowhere' cannot be read: No such file") as caught:
        plan_for([option, value, "http://h.test/"])

    assert caught.value.exit_code == 26


def test_expects_continue_is_told() -> None:
    assert plan_for(["-T", "-", "http://h.test/"]).expects_continue
    assert not plan_for(["-d", "x", "http://h.test/"]).expects_continue


def test_kinds_with_content() -> None:
    assert [kind for kind in Kind if kind.has_content] == [Kind.POST, Kind.PUT]
