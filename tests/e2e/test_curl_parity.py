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

import re
import subprocess
from pathlib import Path

import pytest

from haclient.ops.request_plan import EXPECT_ABOVE
from tests.support.command import environment, haclient, needs_command
from tests.support.recorder import CURL, needs_curl
from tests.support.stage import Stage

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

# The words in capital letters are places of the stage (tests/support/stage.py), the paths its plays.
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
    "an endless head": "URL/endless-head",
    "an endless row of interim heads": "URL/endless-interim",
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
    "an endless line of a head": (
        "URL/endless-line",
        27,
        56,
        "no memory was short: the answer is too long, as an endless head is",
    ),
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


def sent_to(stage: Stage) -> list[list[tuple[bytes, bytes]]]:
    """The requests at each door, canonical."""
    return [[(canonical(head), content) for head, content in door] for door in stage.sent()]


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
                "requests": sent_to(stage),
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
        heads = [head for door in sent_to(stage) for head, _ in door]
        if isinstance(expected, int):
            assert ran.returncode == expected, reason
        else:
            assert heads[0].endswith(expected), reason
