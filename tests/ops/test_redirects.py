"""Which request follows a 3xx: the same as curl's, except where that would betray something."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path

import pytest

from haclient.core.url import parse_url
from haclient.errors import TooManyRedirectsError, UnsupportedSchemeError, UrlError
from haclient.ops.command_line import CommandError
from haclient.ops.options import parse_options
from haclient.ops.redirects import Hop, location_of, next_hop
from haclient.ops.request_plan import Intent, compose, read_intent
from tests.ops.test_request_plan import canonical
from tests.support.recorder import OK, curl, needs_curl, recording

STDIN = b"from stdin"

# status, Location, command line
SAME = [
    *(
        (status, "/next", words)
        for status in (300, 301, 302, 303, 304, 305, 307, 308, 399)
        for words in ("URL/a/b", "-d x URL/a/b", "-T file URL/a/b", "-I URL/a/b", "--json {} URL/")
    ),
    (301, "/next", "-X POST -d x URL/"),
    (302, "/next", "-X PUT -d x URL/"),
    (303, "/next", "-X DELETE URL/"),
    (307, "/next", "-X PUT -d x URL/"),
    (303, "/next", "-T - URL/up"),
    (307, "/next", "-d @- URL/"),
    (303, "/next", "-r 0-1 -d x URL/"),
    (303, "/next", "-d x -H 'Content-Type: a/b' URL/"),
    (302, "/next", "-H 'Host: other.test' -u u:p -H 'Cookie: q=1' URL/"),
    (302, "/next", "-u u:p -b a=b -A me -e ref -H 'X: 1' URL/"),
    (302, "/next", "http://u:p@HOST/"),
    (302, "/next", "-e ';auto' URL/a?b#c"),
    (302, "/next", "-e 'first;auto' URL/a"),
    (302, "next", "URL/a/b?c"),
    (302, "../next", "URL/a/b/c"),
    (302, "?next", "URL/a/b?c"),
    (302, "//HOST/next", "URL/a"),
    (302, "http://HOST/next", "-u u:p URL/a"),
    (302, "HTTP://HOST/next", "URL/a"),
    (302, "http://v:w@HOST/next", "URL/a"),
    (302, "  /a b?c d  ", "URL/"),
    (302, "/é?é", "URL/"),
    (302, "/a%20b\\c", "URL/"),
    (302, "/next#fragment", "URL/"),
    (302, "./a/../b/./c/", "URL/d/e"),
    (302, "g/../../../h", "URL/d/e"),
    # To another origin: the same server, but by another name.
    (302, "http://localhost:PORT/next", "-u u:p URL/"),
    (302, "http://localhost:PORT/next", "-H 'Authorization: x' -H 'Cookie: a=1' -H 'X: 1' URL/"),
    (302, "http://localhost:PORT/next", "-H 'Host: other.test' URL/"),
    (302, "http://localhost:PORT/next", "http://u:p@HOST/"),
    (302, "http://v:w@localhost:PORT/next", "http://u:p@HOST/"),
    (307, "http://localhost:PORT/next", "-u u:p -d x URL/"),
]  # fmt: skip


def intent_for(words: list[str]) -> tuple[Intent, str]:
    intent, url = read_intent(
        parse_options(words), 0, read_stdin=lambda: STDIN, ask_password=lambda user: ""
    )
    return intent, str(url)


def hop(words: list[str], status: int, location: str, followed: int = 0, limit: int = 50) -> Hop:
    intent, url = intent_for(words)
    return next_hop(intent, parse_url(url), status, location, followed=followed, limit=limit)


@needs_curl
@pytest.mark.parametrize(("status", "location", "row"), SAME)
def test_the_second_request_is_curls(
    status: int, location: str, row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.chdir(tmp_path)

    def answer(number: int, connection: socket.socket, head: bytes) -> bytes:
        if number > 1:
            return OK
        place = location.replace("HOST", f"127.0.0.1:{recorder.port}")
        place = place.replace("PORT", str(recorder.port))
        return f"HTTP/1.1 {status} X\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()

    with recording(answer) as recorder:
        port = str(recorder.port)
        text = row.replace("URL", recorder.url).replace("HOST", f"127.0.0.1:{port}")
        words = shlex.split(text)
        ran = curl(["-L", *words], cwd=tmp_path, stdin=STDIN)

        intent, url = intent_for(words)
        first = compose(intent, parse_url(url))
        place = location_of(
            status,
            (
                (
                    b"Location",
                    location.replace("HOST", f"127.0.0.1:{port}").replace("PORT", port).encode(),
                ),
            ),
        )
        assert place is not None
        then = next_hop(intent, parse_url(url), status, place, followed=0, limit=50)
        second = compose(then.intent, then.url)

    assert ran.returncode == 0, ran.stderr
    assert [first.head(), second.head()] == [canonical(one.head) for one in recorder.requests]


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (302, ((b"location", b" /a "),), "/a"),
        (302, ((b"X", b"y"), (b"Location", b"/a"), (b"Location", b"/b")), "/a"),
        (302, (), None),
        (302, ((b"Location", b""),), None),
        (200, ((b"Location", b"/a"),), None),
        (404, ((b"Location", b"/a"),), None),
        (302, ((b"Location", b"/\xff"),), "/\udcff"),
    ],
)
def test_what_redirects(
    status: int, fields: tuple[tuple[bytes, bytes], ...], expected: str | None
) -> None:
    assert location_of(status, fields) == expected


OTHER_ORIGINS = ["http://other.test/", "http://h.test:8080/", "https://h.test/"]


@pytest.mark.parametrize("location", OTHER_ORIGINS)
def test_no_secret_goes_to_another_origin(location: str) -> None:
    words = ["-u", "u:p", "-b", "a=1", "-H", "Cookie: b=2", "-H", "Authorization: x", "-H", "X: 1"]

    then = hop([*words, "http://h.test/"], 302, location)
    head = compose(then.intent, then.url).head()

    assert not then.is_same_origin
    assert b"Authorization" not in head
    assert b"Cookie" not in head
    assert b"X: 1" in head


def test_the_same_origin_keeps_its_secrets() -> None:
    then = hop(["-u", "u:p", "-b", "a=1", "http://h.test/"], 302, "http://H.TEST:80/next")
    head = compose(then.intent, then.url).head()

    assert then.is_same_origin
    assert b"Authorization: Basic dTpw" in head
    assert b"Cookie: a=1" in head


def test_no_referer_from_https_to_http() -> None:
    down = hop(["-e", "first;auto", "https://h.test/secret"], 302, "http://h.test/")
    up = hop(["-e", ";auto", "http://u:p@h.test/a?b"], 302, "https://h.test/")

    assert b"Referer" not in compose(down.intent, down.url).head()
    assert b"Referer: http://h.test/a?b\r\n" in compose(up.intent, up.url).head()


def test_a_post_that_becomes_a_get_loses_its_framing() -> None:
    words = ["-d", "x", "-H", "Content-Length: 1", "-H", "Expect: 100-continue", "http://h.test/"]

    then = hop(words, 303, "/next")

    names = [name for name, _ in compose(then.intent, then.url).fields]
    assert names == [b"User-Agent", b"Accept"]


def test_stdin_cannot_be_sent_twice() -> None:
    with pytest.raises(CommandError, match="stdin cannot be read a second time") as caught:
        hop(["-T", "-", "http://h.test/"], 307, "/next")

    assert caught.value.exit_code == 65


@pytest.mark.parametrize(
    ("followed", "limit", "is_allowed"),
    [(0, 0, False), (0, 1, True), (1, 1, False), (49, 50, True), (50, 50, False), (999, -1, True)],
)
def test_the_number_of_redirects(followed: int, limit: int, is_allowed: bool) -> None:
    if is_allowed:
        assert hop(["http://h.test/"], 302, "/a", followed, limit).url == parse_url(
            "http://h.test/a"
        )
        return
    with pytest.raises(TooManyRedirectsError, match=f"{limit} is the most"):
        hop(["http://h.test/"], 302, "/a", followed, limit)


@pytest.mark.parametrize("location", ["ftp://h.test/", "file:///etc/passwd", "javascript:1"])
def test_only_http_is_followed(location: str) -> None:
    with pytest.raises(UnsupportedSchemeError):
        hop(["http://h.test/"], 302, location)


@pytest.mark.parametrize("location", ["//", "http://h.test:99999/", "/a\tb"])
def test_a_malformed_location_is_an_error(location: str) -> None:
    with pytest.raises(UrlError):
        hop(["http://h.test/"], 302, location)
