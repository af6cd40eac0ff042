"""curl and `haclient request` side by side: the same request bytes, output and exit code.

Each row is one command line, run by both against the same server; only the User-Agent may differ. What
the plan alone makes of many more is compared in tests/ops/test_request_plan.py, in a fraction of the
time; this is the proof that nothing on the way to the wire changes it.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.test_request_plan import FILES, STDIN, canonical
from tests.support.recorder import Recorded, curl, needs_curl, recording, unchunked

ROOT = Path(__file__).parents[2]

ROWS = [
    "URL/",
    "URL/a/../b?c=%20d#e",
    "-X DELETE URL/orders/7",
    "-I URL/",
    "-i URL/",
    "-i URL/1 URL/2",
    "-H X-A:1 -H 'Accept: text/plain' -H User-Agent: -H 'X-C;' URL/",
    "-H 'Host: other.test' URL/",
    "-H @fields URL/",
    "-A me -e http://from.test/ -r 0-499 URL/",
    "-u me:secret -b 'a=1; b=2' -b c=3 URL/",
    "http://u:p%20w@HOST/",
    "-d a=1 -d b=2 -d@form.txt URL/",
    "-d @- URL/",
    "-X PATCH --data-binary @binary URL/",
    "--data-binary @beyond URL/",
    "-d x -H 'Transfer-Encoding: chunked' URL/",
    "--data-urlencode 'a b=c&d' --data-urlencode n@form.txt URL/",
    "--json '{\"a\": 1}' URL/",
    "--json {} -X PUT -H 'Accept: x/y' URL/",
    "-G -d a=1 --data-urlencode 'b=c d' URL/p?z=9",
    "-T form.txt URL/dir/",
    "-T - URL/up",
    "-T beyond -H Expect: URL/up",
    "-L URL/redirect/302",
    "-L -d x URL/redirect/302",
    "-L -d x URL/redirect/307",
    "-L -u u:p URL/redirect/301",
    "-iL -b '' URL/redirect/303",
    "URL/redirect/302",
    "-L --max-redirs 2 URL/loop",
    "-f URL/status/404",
    "--fail-with-body URL/status/500",
    "-fi URL/status/404",
    "-o first -o second URL/1 URL/2",
    "-sSf -XPUT -dx -o first URL/",
    "-o first -f URL/status/503",
    "-o nowhere/first URL/",
    "-w '%{http_code} %{num_redirects} %{url_effective} %{size_download}\\n' -L URL/redirect/302",
    "-m 1 URL/silence",
    "URL/hang-up",
    "URL/half",
    "--resolve h.test:PORT:127.0.0.1 http://h.test:PORT/",
    "--connect-to h.test:80:HOST http://h.test/",
    "-x URL http://h.test/p?q",
]


def answer(number: int, connection: socket.socket, head: bytes) -> bytes | None:
    """By the path: a redirect with a cookie, an endless row of them, a status, or worse."""
    path = head.split(b" ")[1].strip(b"/").split(b"/")
    match path:
        case [b"redirect", status]:
            fields = b"Location: /there\r\nSet-Cookie: seen=1\r\nContent-Length: 3\r\n\r\nred"
            return b"HTTP/1.1 " + status + b" Moved\r\n" + fields
        case [b"loop"]:
            return b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n"
        case [b"status", status]:
            return b"HTTP/1.1 " + status + b" No\r\nContent-Length: 2\r\n\r\nno"
        case [b"silence"]:
            connection.recv(1)  # until the client has left
            return None
        case [b"hang-up"]:
            return None
        case [b"half"]:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            return None
        case _:
            content = b"" if head.startswith(b"HEAD ") else b"some content"
            return b"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Length: 12\r\n\r\n" + content


def haclient(words: list[str], *, cwd: Path, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "haclient.ops.main", "request", "-sS", "-m", "5", *words],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=30,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
    )


def content(request: Recorded) -> bytes:
    is_chunked = b"\ntransfer-encoding: chunked" in request.head.lower()
    return unchunked(request.body) if is_chunked else request.body


def written(folder: Path) -> dict[str, bytes]:
    """The files there, and away with them."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in FILES}
    for name in found:
        (folder / name).unlink()
    return found


@needs_curl
@pytest.mark.parametrize("row", ROWS)
def test_haclient_does_as_curl_does(row: str, tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)

    with recording(answer) as recorder:
        address = f"127.0.0.1:{recorder.port}"
        text = row.replace("URL", recorder.url).replace("HOST", address)
        words = shlex.split(text.replace("PORT", str(recorder.port)))
        outcomes = []
        for program in (curl, haclient):
            recorder.requests.clear()
            ran = program(words, cwd=tmp_path, stdin=STDIN)
            sent = [(canonical(one.head), content(one)) for one in recorder.requests]
            outcomes.append((sent, ran.stdout, written(tmp_path), ran.returncode))

    assert outcomes[1] == outcomes[0]
