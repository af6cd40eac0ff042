"""curl and the installed command side by side: the same request bytes, output, files and exit code.

Each row is one command line, run by both against the same servers; a curl user who puts `haclient
request` in curl's place must not be able to tell. Compared are the requests as they came in (chunks
put together, for where they are cut is nobody's business), stdout, the files that were written, the
exit code, and whether stderr has an error line. Only the default User-Agent may differ, and the
comments and the order in a cookie file.

What the plan alone makes of many more options is compared in tests/ops/test_request_plan.py, in a
fraction of the time; where haclient differs on purpose stands in DIFFERENT, with the reason. White
space around the values of a response's fields, and a missing space behind its status, are not shown by
-i as they came: they have no meaning, and the reader of heads does not keep them.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from haclient.ops.request_plan import EXPECT_ABOVE
from tests.support.certificates import server_context, write_ca
from tests.support.command import environment, haclient, needs_command
from tests.support.recorder import (
    CONTINUE,
    CURL,
    Recorded,
    Recorder,
    abort,
    needs_curl,
    recording,
    unchunked,
)

FILES = {
    "form.txt": b"a=1\r\nb=2\n\nc",
    "binary": b"\x00\x01\r\n\xff",
    "empty": b"",
    "beyond": b"x" * (EXPECT_ABOVE + 1),
    "fields": b"X-A: 1\n# a comment\nX-B:\nX-C;\n\n",
    "format": b"%{http_code}\n %{size_download}",
    "cookies.txt": b"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tkept\tyes\n"
    b"other.test\tFALSE\t/\tFALSE\t0\tnot\tours\n",
}
STDIN = b"from stdin: 1\r\n"

# URL: a plain server; HOST, PORT: where that is. TLS: one with a certificate for good.test and
# 127.0.0.1, at TLSPORT. PROXY: a forward proxy. SOCKET: a server on a Unix socket. CA: who issued
# the certificate. CLOSED: an address where nobody listens.
ROWS = {
    # --- the request ---
    "a plain GET": "URL/",
    "a path with dots, a query and a fragment": "URL/a/../b?c=%20d#e",
    "a DELETE": "-X DELETE URL/orders/7",
    "a HEAD shows the head": "-I URL/",
    "a HEAD into a file": "-I -o first URL/",
    "own fields, one removed, one empty": (
        "-H X-A:1 -H 'Accept: text/plain' -H User-Agent: -H 'X-C;' URL/"
    ),
    "another Host": "-H 'Host: other.test' URL/",
    "fields from a file": "-H @fields URL/",
    "agent, referer and range": "-A me -e http://from.test/ -r 0-499 URL/",
    "a range to the end is answered with 206": "-r 5- URL/range",
    "credentials and cookies": "-u me:secret -b 'a=1; b=2' -b c=3 URL/",
    "credentials in the URL": "http://u:p%20w@HOST/",
    "a name given its address by --resolve": (
        "--resolve h.test:PORT:127.0.0.1 http://h.test:PORT/"
    ),
    "--resolve beside a literal address": "--resolve h.test:PORT:127.0.0.1 URL/",
    "--connect-to another port": "--connect-to h.test:80:HOST http://h.test/",
    "--connect-to for every host": "--connect-to ::HOST http://h.test:81/p",
    "a Unix socket": "--unix-socket SOCKET http://h.test/p?q",
    "a Unix socket that is not there": "--unix-socket nowhere http://h.test/",
    # --- content ---
    "a form in several pieces": "-d a=1 -d b=2 -d@form.txt URL/",
    "a form from stdin": "-d @- URL/",
    "bytes from a file, with another method": "-X PATCH --data-binary @binary URL/",
    "more than a mebibyte waits for 100": "--data-binary @beyond URL/",
    "more than a mebibyte to a server that says nothing": "--data-binary @beyond URL/mute",
    "more than a mebibyte, refused before it is sent": "--data-binary @beyond URL/too-large",
    "a PUT refused before it is sent": "-T beyond URL/too-large",
    "stdin refused before it is sent": "-T - URL/too-large",
    "a PUT refused before it is sent, with -f": "-f -T beyond URL/too-large",
    "chunked content": "-d x -H 'Transfer-Encoding: chunked' URL/",
    "percent-encoded content": "--data-urlencode 'a b=c&d' --data-urlencode n@form.txt URL/",
    "JSON": "--json '{\"a\": 1}' URL/",
    "JSON with own method and Accept": "--json {} -X PUT -H 'Accept: x/y' URL/",
    "-G makes a query of it": "-G -d a=1 --data-urlencode 'b=c d' URL/p?z=9",
    "an upload into a directory": "-T form.txt URL/dir/",
    "an upload of nothing": "-T empty URL/up",
    "an upload from stdin": "-T - URL/up",
    "an upload that does not wait": "-T beyond -H Expect: URL/up",
    "an upload of a part": "-T form.txt -r 0-3 URL/up",
    # --- the response ---
    "the head among the output": "-i URL/",
    "two URLs with their heads": "-i URL/1 URL/2",
    "chunked": "-i URL/chunked",
    "chunked with a trailer": "URL/trailer",
    "until the connection closes": "-i URL/until-close",
    "HTTP/1.0": "-i URL/old",
    "204": "-i URL/204",
    "304": "-i URL/304",
    "205 with content, which it must not have": "-i URL/status/205",
    "103 before the answer": "-i URL/hints",
    "a reason that is none": "-i URL/no-reason",
    "a status of one's own": "-i URL/status/299",
    "a field twice, and one that is empty": "-i URL/twice",
    "bytes beyond ASCII in a field": "-i URL/latin",
    "a mebibyte": "URL/mebibyte",
    # --- redirects ---
    "a redirect that is not followed": "-i URL/redirect/302",
    "301 makes a GET of a POST": "-L -d x URL/redirect/301",
    "302 makes a GET of a POST": "-L -d x URL/redirect/302",
    "302 leaves a PUT a PUT": "-L -T form.txt URL/redirect/302",
    "303 makes a GET of a PUT": "-L -T form.txt URL/redirect/303",
    "307 keeps the POST": "-L -d x URL/redirect/307",
    "308 keeps the POST": "-L -d x URL/redirect/308",
    "-X keeps its word": "-L -X DELETE -d x URL/redirect/303",
    "a HEAD is redirected": "-IL URL/redirect/301",
    "every head with -i": "-iL URL/redirect/302",
    "credentials stay with the same origin": "-L -u u:p URL/redirect/301",
    "credentials do not go to another": ("-L -u u:p --resolve other.test:PORT:127.0.0.1 URL/away"),
    "the cookie of a redirect is sent": "-iL -b '' URL/redirect/303",
    "to a relative path": "-L URL/deep/down/relative",
    "without a Location": "-L URL/status/302",
    "too many redirects": "-L --max-redirs 2 URL/loop",
    "too many redirects, shown": "-iL --max-redirs 1 URL/loop",
    "none allowed": "-L --max-redirs 0 URL/redirect/302",
    "to a scheme that is none": "-L URL/to-ftp",
    "from http to https": "-L --cacert CA --resolve good.test:TLSPORT:127.0.0.1 URL/to-tls",
    # --- cookies ---
    "a cookie jar": "-c jar URL/cookies",
    "a cookie jar on stdout": "-s -c - URL/cookies",
    "cookies from a file": "-b cookies.txt -c jar URL/cookies",
    "cookies from one URL to the next": "-b '' URL/cookies URL/again",
    "a cookie jar over two URLs": "-c jar URL/cookies URL/cookies?again",
    # --- output ---
    "a file each": "-o first -o second URL/1 URL/2",
    "a file for the first alone": "-o first URL/1 URL/2",
    "a file of the URL's name": "-O URL/dir/name.bin?x=1",
    "two files of the URLs' names": "-O -O URL/one URL/two",
    "a URL without a name for its file": "-O URL/dir/",
    "a file in a directory that is not there": "-o nowhere/first URL/",
    "a file without content": "-o first URL/204",
    "the answer replaces a file": "-o form.txt URL/",
    "a refused connection leaves a file as it was": "-o form.txt http://CLOSED/",
    "a broken answer leaves its part": "-o first URL/short",
    "what is written about it": (
        "-w '%{http_code} %{num_redirects} %{url_effective} %{size_download} %{method}\\n'"
        " -L URL/redirect/302"
    ),
    "sizes": (
        "-w '%{size_header} %{size_download} %{size_upload} %{num_connects} %{http_version}\\n'"
        " -d abc URL/"
    ),
    "sizes of an upload in chunks": "-w '%{size_upload} %{num_connects}' -T - URL/up",
    "where it points": "-w '%{redirect_url} %{content_type} %header{x-served-by}' URL/redirect/302",
    "a format from a file": "-w @format URL/",
    "a format on stderr and for errors": "-s -w '%{stderr}%{exitcode}%{stdout}%{onerror}%{errormsg}' URL/",
    "a connection serves two URLs": "-w '%{num_connects} %{urlnum}\\n' URL/1 URL/2",
    "a connection serves the redirect": "-L -w '%{num_connects}\\n' URL/redirect/302",
    "written about a refused connection": "-w '%{http_code} %{exitcode} %{num_connects}' http://CLOSED/",
    "written about a malformed URL": "-w '%{http_code} %{exitcode}' 'http://a b/'",
    "written about a file that cannot be": "-w '%{http_code} %{exitcode}' -o nowhere/f URL/",
    # --- statuses and errors ---
    "404 is an answer": "URL/status/404",
    "404 with -f": "-f URL/status/404",
    "404 with -f and a file": "-f -o first URL/status/404",
    "404 with -f and its head": "-fi URL/status/404",
    "500 with --fail-with-body": "--fail-with-body URL/status/500",
    "399 with -f": "-f URL/status/399",
    "-f after a redirect": "-fL URL/to-404",
    "the first of two fails": "-f URL/status/404 URL/2",
    "the second of two fails": "-f URL/1 URL/status/404",
    "a malformed URL between two": "URL/1 'http://a b/' URL/2",
    "refused": "http://CLOSED/",
    "refused, in silence": "-s http://CLOSED/",
    "refused, in silence but for the error": "-sS http://CLOSED/",
    "404 with -f, in silence": "-sf URL/status/404",
    "404 with -f, in silence but for the error": "-sSf URL/status/404",
    "a malformed URL, in silence": "-s 'http://a b/'",
    "a malformed URL, in silence but for the error": "-sS 'http://a b/'",
    "an unknown scheme": "foo://h.test/",
    "a scheme without a host": "http://",
    "no URL": "-s",
    "an option that is none": "--no-such-option URL/",
    "an option without its value": "URL/ -H",
    "a time-out before the head": "-m 0.5 URL/silence",
    "a time-out within the content": "-m 0.5 URL/stall",
    "a time-out within the content, into a file": "-m 0.5 -o first URL/stall",
    "nothing": "URL/nothing",
    "garbage": "URL/garbage",
    "a reset instead of an answer": "URL/reset",
    "a reset within the content": "URL/reset-within",
    "content cut short": "URL/short",
    "content cut short, with its head": "-i URL/short",
    "chunked content cut short": "URL/short-chunked",
    "a bad chunk": "URL/bad-chunk",
    "a file to upload that is not there": "-T nowhere URL/",
    "a --resolve that is none": "--resolve h URL/",
    "a port that is none": "http://127.0.0.1:99999/",
    # --- TLS ---
    "an authority of one's own": "--cacert CA TLS/",
    "a name with a certificate": (
        "--cacert CA --resolve good.test:TLSPORT:127.0.0.1 https://good.test:TLSPORT/p"
    ),
    "a name without": (
        "--cacert CA --resolve evil.test:TLSPORT:127.0.0.1 https://evil.test:TLSPORT/"
    ),
    "not verified": "-k TLS/",
    "not verified, and redirected to plain": "-kL TLS/to-plain",
    "an unknown authority": "TLS/",
    "an authority's file that is not there": "--cacert nowhere TLS/",
    "an authority's file that is none": "--cacert form.txt TLS/",
    "a certificate's file that is not there": "-k -E nowhere TLS/",
    "a certificate's file that is none": "-k -E form.txt TLS/",
    "TLS to a plain port": "-k https://HOST/",
    "plain to a TLS port": "http://127.0.0.1:TLSPORT/",
    "content over TLS": "--cacert CA --data-binary @beyond TLS/",
    "two URLs over one TLS connection": "-k -w '%{num_connects} ' TLS/1 TLS/2",
    "content cut short over TLS": "-k TLS/short",
    # --- a forward proxy ---
    "a proxy gets the whole URL": "-x PROXY http://h.test/p?q",
    "a proxy gets own fields in their place": (
        "-x PROXY -H X-A:1 -b c=1 -e ref -d x http://h.test/p"
    ),
    "a proxy gets its credentials": "-x http://u:p@PROXYHOST http://h.test/",
    "a proxy gets its credentials and the server its own": (
        "-x http://u:p@PROXYHOST -u me:secret -r 0-1 http://h.test/"
    ),
    "an upload through a proxy": "-x PROXY -T form.txt http://h.test/up",
    "a tunnel": "-x PROXY --cacert CA TLS/p",
    "a tunnel to a name": "-x PROXY -k https://good.test:TLSPORT/p",
    "a tunnel with credentials": "-x http://u:p@PROXYHOST -k -u me:secret TLS/p",
    "a tunnel that is refused": "-x PROXY -k https://forbidden.test/",
    "a proxy where nobody listens": "-x http://CLOSED http://h.test/",
    "a proxy not for this host": "-x http://CLOSED --noproxy 127.0.0.1 URL/",
    "a proxy of an unknown kind": "-x foo://HOST http://h.test/",
}

DIFFERENT: dict[str, tuple[str, int | bytes, int | bytes, str]] = {
    "a head cut short": ("URL/half-head", 0, 52, "a head that breaks off is no answer"),
    "two lengths": ("URL/two-lengths", 0, 1, "nobody can know which one holds"),
    "port 0": ("http://127.0.0.1:0/", 7, 3, "no server can have it"),
    "a form's file that is not there": (
        "-d @nowhere URL/",
        0,
        26,
        "an empty form is not what was meant; later versions of curl say 26 as well",
    ),
    "a POST without content": (
        "-X POST URL/",
        b"Accept: */*\r\n\r\n",
        b"Accept: */*\r\nContent-Length: 0\r\n\r\n",
        "RFC 9110, section 8.6 wants it, and servers answer 411 where it is missing",
    ),
    "stdin with a length": (
        "-T - -H 'Content-Length: 15' URL/up",
        b"Transfer-Encoding: chunked\r\nContent-Length: 15\r\nExpect: 100-continue\r\n\r\n",
        b"Accept: */*\r\nContent-Length: 15\r\nExpect: 100-continue\r\n\r\n",
        "two framings at once are how requests are smuggled (RFC 9112, section 6.3)",
    ),
}
"""The row, curl's exit code or the end of its request's head, ours, and the reason."""


@dataclass(frozen=True)
class Stage:
    """The servers, and what came in at any of them."""

    doors: tuple[Recorder, ...]
    words: dict[str, str]

    def sent(self) -> list[list[tuple[bytes, bytes]]]:
        """The requests at each door since the last time."""
        found = [
            [(canonical(one.head), content(one)) for one in door.requests] for door in self.doors
        ]
        for door in self.doors:
            door.requests.clear()
        return found

    def words_of(self, row: str) -> list[str]:
        """A row's words, with the places of this stage in them."""
        pattern = r"\b(" + "|".join(sorted(self.words, key=len, reverse=True)) + r")\b"
        return shlex.split(re.sub(pattern, lambda found: self.words[found[1]], row))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    authority = trustme.CA()
    tls = server_context(authority, "good.test", "127.0.0.1")
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(folder / "socket"))
    local.listen()
    with (
        recording(answer, on_expect=on_expect) as plain,
        recording(answer, on_expect=on_expect, tls=tls) as encrypted,
        recording(answer, listener=local) as unix,
        closed_port() as closed,
    ):
        places = {
            "URL": plain.url,
            "HOST": f"127.0.0.1:{plain.port}",
            "PORT": str(plain.port),
            "TLS": f"https://127.0.0.1:{encrypted.port}",
            "TLSPORT": str(encrypted.port),
            "SOCKET": str(folder / "socket"),
            "CA": write_ca(authority, folder / "ca.pem"),
            "CLOSED": f"127.0.0.1:{closed}",
        }
        NEIGHBOURS.update(plain=plain.port, tls=encrypted.port)
        with recording(answer_as_proxy) as proxy:
            places |= {"PROXY": proxy.url, "PROXYHOST": f"127.0.0.1:{proxy.port}"}
            yield Stage((plain, encrypted, unix, proxy), places)


NEIGHBOURS: dict[str, int] = {}
"""Ports that answers point to; known once the servers run."""


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that is taken, and where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


# --- what the servers answer ---------------------------------------------------------------------

OK = (
    b"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n"
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAYS = {
    b"chunked": CHUNKED + b"5\r\nsome \r\n7;a=b\r\ncontent\r\n0\r\n\r\n",
    b"trailer": CHUNKED + b"4\r\nsome\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"204": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    b"304": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 5\r\n\r\n',
    b"range": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-11/12\r\n"
    b"Content-Length: 7\r\n\r\ncontent",
    b"hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK + b"some content",
    b"no-reason": b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    b"twice": b"HTTP/1.1 200 OK\r\nX-A: one\r\nx-a: Two\r\nX-B:\r\nContent-Length: 2\r\n\r\nok",
    b"latin": b"HTTP/1.1 200 \xc9tat\r\nX-A: \xe9\xff\r\nContent-Length: 2\r\n\r\nok",
    b"mebibyte": b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"
    + b"0123456789abcdef" * 65536,
    b"loop": b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 4\r\n\r\nloop",
    b"to-404": b"HTTP/1.1 302 Found\r\nLocation: /status/404\r\nContent-Length: 0\r\n\r\n",
    b"to-ftp": b"HTTP/1.1 302 Found\r\nLocation: foo://h.test/\r\nContent-Length: 0\r\n\r\n",
    b"deep": b"HTTP/1.1 302 Found\r\nLocation: ../there?x=1\r\nContent-Length: 0\r\n\r\n",
    b"cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; HttpOnly\r\n"
    b"Set-Cookie: c=3; Expires=Fri, 01 Jan 2100 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok",
}
ENDS = {
    b"nothing": b"",
    b"garbage": b"This is no HTTP at all\r\n\r\n",
    b"until-close": b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nsome content",
    b"old": b"HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nsome content",
    b"short": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
    b"short-chunked": CHUNKED + b"9\r\nshort",
    b"bad-chunk": CHUNKED + b"4\r\nsome\r\nzz\r\n",
    b"half-head": b"HTTP/1.1 200 OK\r\nX-A: b\r\n",
    b"two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
}  # fmt: skip
"""After these the connection ends."""


def answer(number: int, connection: socket.socket, head: bytes) -> bytes | None:
    """By the first part of the path."""
    path = head.split(b" ")[1].partition(b"?")[0]
    parts = re.sub(rb"^http://[^/]*", b"", path).strip(b"/").split(b"/")
    if parts[0] in PLAYS:
        return PLAYS[parts[0]]
    if parts[0] in ENDS:
        connection.sendall(ENDS[parts[0]])
        return None
    match parts:
        case [b"redirect", status]:
            return _redirect(status, b"/there", b"Set-Cookie: seen=1\r\n")
        case [b"away"]:
            return _redirect(b"302", b"http://other.test:%d/there" % NEIGHBOURS["plain"])
        case [b"to-tls"]:
            return _redirect(b"301", b"https://good.test:%d/there" % NEIGHBOURS["tls"])
        case [b"to-plain"]:
            return _redirect(b"301", b"http://127.0.0.1:%d/there" % NEIGHBOURS["plain"])
        case [b"status", status]:
            return b"HTTP/1.1 " + status + b" As Asked\r\nContent-Length: 2\r\n\r\nno"
        case [b"silence"]:
            connection.recv(1)  # until the client has left
            return None
        case [b"stall"]:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nstall")
            connection.recv(1)
            return None
        case [b"reset"]:
            abort(connection)
            return None
        case [b"reset-within"]:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nreset")
            # What was sent is read before the reset arrives, as it would be on a network.
            connection.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                connection.recv(1)
            abort(connection)
            return None
        case _:
            return OK + (b"" if head.startswith(b"HEAD ") else b"some content")


def _redirect(status: bytes, location: bytes, fields: bytes = b"") -> bytes:
    fields += b"Location: " + location + b"\r\nContent-Length: 3\r\n\r\n"
    return b"HTTP/1.1 " + status + b" Moved\r\n" + fields + b"red"


def on_expect(head: bytes) -> bytes:
    """What a request gets before its content."""
    if b" /too-large" in head:
        return b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch"
    return b"" if b" /mute" in head else CONTINUE


def answer_as_proxy(number: int, connection: socket.socket, head: bytes) -> bytes | None:
    """A forward proxy that leads every tunnel to our own server, and answers the rest itself."""
    if not head.startswith(b"CONNECT "):
        return answer(number, connection, head)
    if b"forbidden" in head.partition(b"\r\n")[0]:
        return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    with socket.create_connection(("127.0.0.1", NEIGHBOURS["tls"]), 5) as onward:
        back = threading.Thread(target=_pump, args=(onward, connection))
        back.start()
        _pump(connection, onward)
        back.join(10)
    return None


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


# --- running and comparing -----------------------------------------------------------------------


def curl(words: list[str], *, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    assert CURL is not None
    return subprocess.run(
        [CURL, "-q", "-g", *words],
        cwd=cwd,
        input=STDIN,
        capture_output=True,
        check=False,
        timeout=30,
        env=environment(),
    )


def ours(words: list[str], *, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return haclient(["request", *words], cwd=cwd, stdin=STDIN)


def canonical(head: bytes) -> bytes:
    """A head without the default User-Agent, and with one space after each colon."""
    head = re.sub(rb"(?m)^User-Agent: (curl|haclient)/[^\r]*\r\n", b"", head)
    return re.sub(rb"(?m)^([^ :\r]+):(?=[^ \r])", rb"\1: ", head)


def content(request: Recorded) -> bytes:
    is_chunked = b"\ntransfer-encoding: chunked" in request.head.lower()
    return unchunked(request.body) if is_chunked else request.body


def sorted_cookies(data: bytes) -> bytes:
    """A cookie file without its comments; each program has its own, and another order."""
    before, is_file, lines = data.partition(b"# Netscape HTTP Cookie File\n")
    if not is_file:
        return data
    cookies = [line for line in lines.splitlines() if line and not line.startswith(b"# ")]
    return before + b"\n".join(sorted(cookies))


def written(folder: Path) -> dict[str, bytes]:
    """Every file that is not as it was; then all is as it was."""
    now = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for name in now.keys() - FILES.keys():
        (folder / name).unlink()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return {name: sorted_cookies(now[name]) for name in now if now[name] != FILES.get(name)}


IS_COMPLAINT = re.compile(rb"(?m)^(curl|haclient): .")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with FILES."""
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@needs_curl
@needs_command
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_haclient_does_as_curl_does(row: str, stage: Stage, folder: Path) -> None:
    outcomes = []
    for program in (curl, ours):
        ran = program(stage.words_of(row), cwd=folder)
        outcomes.append(
            {
                "requests": stage.sent(),
                "stdout": sorted_cookies(ran.stdout),
                "files": written(folder),
                "exit code": ran.returncode,
                "is told on stderr": IS_COMPLAINT.search(ran.stderr) is not None,
            }
        )

    assert outcomes[1] == outcomes[0], ran.stderr.decode()


@needs_curl
@needs_command
@pytest.mark.parametrize(
    ("row", "curls", "our", "reason"), DIFFERENT.values(), ids=DIFFERENT.keys()
)
def test_where_haclient_differs_it_does_so_on_purpose(
    row: str, curls: int | bytes, our: int | bytes, reason: str, stage: Stage, folder: Path
) -> None:
    for program, expected in ((curl, curls), (ours, our)):
        ran = program(stage.words_of(row), cwd=folder)
        heads = [head for door in stage.sent() for head, _ in door]
        if isinstance(expected, int):
            assert ran.returncode == expected, reason
        else:
            assert heads[0].endswith(expected), reason
