"""Client libraries of others through the sidecar: requests, httpx, aiohttp, http.client by hand.

Each test runs twice, against the origin itself and against the sidecar in front of it.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  (aiohttp's client knows no other loop)
import hashlib
import http.client
import io
import socket
from collections.abc import AsyncIterator, Iterator

import aiohttp
import httpx
import pytest
import requests
import trio
from requests.adapters import HTTPAdapter

from tests.support.command import needs_command
from tests.support.echo_server import FILE, echo_server, noise
from tests.support.sidecar import sidecar

PIECES = [noise(50_000, seed) for seed in range(40)]
"""2 MB, more than a sidecar keeps for a resend."""

WHOLE = hashlib.sha256(b"".join(PIECES)).digest()


@pytest.fixture(scope="module", params=["direct", pytest.param("sidecar", marks=needs_command)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The echo server, or the sidecar in front of it."""
    with echo_server() as origin:
        if request.param == "direct":
            yield origin
            return
        with sidecar(origin) as door:
            yield door.url


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


def connections_of(session: requests.Session, url: str) -> int:
    """How many its pool has made."""
    adapter = session.get_adapter(url)
    assert isinstance(adapter, HTTPAdapter)
    pools = adapter.poolmanager.pools
    return sum(pools[key].num_connections for key in pools.keys())  # noqa: SIM118  (no dict)


def test_a_session_of_requests_keeps_its_connection(session: requests.Session, url: str) -> None:
    for number in range(20):
        response = session.post(f"{url}/echo", data={"n": number}, timeout=5)
        assert (response.status_code, response.text) == (200, f"n={number}")
    assert connections_of(session, url) == 1


def test_requests_uploads_what_a_generator_makes(session: requests.Session, url: str) -> None:
    response = session.put(f"{url}/echo", data=iter(PIECES), timeout=10)
    assert response.headers["X-Framing"] == "chunked"
    assert hashlib.sha256(response.content).digest() == WHOLE


def test_requests_downloads_piece_by_piece(session: requests.Session, url: str) -> None:
    with session.get(f"{url}/file", stream=True, timeout=5) as response:
        pieces = list(response.iter_content(10_000))
    assert b"".join(pieces) == FILE
    assert connections_of(session, url) == 1


def test_requests_uploads_files(session: requests.Session, url: str) -> None:
    files = {"one": ("ä.bin", FILE, "application/octet-stream")}
    response = session.post(f"{url}/echo", files=files, timeout=5)
    assert FILE in response.content
    assert len(response.content) == int(response.request.headers["Content-Length"])


def test_httpx(url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/file").content == FILE
        assert client.head("/file").headers["Content-Length"] == str(len(FILE))
        assert client.delete("/echo").headers["X-Method"] == "DELETE"
        response = client.put("/echo", content=iter(PIECES))
    assert hashlib.sha256(response.content).digest() == WHOLE


async def pieces() -> AsyncIterator[bytes]:
    for piece in PIECES:
        yield piece
        await trio.lowlevel.checkpoint()


async def test_httpx_on_trio_many_at_once(url: str) -> None:
    right: list[int] = []

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        response = await client.post("/echo", content=b"%d" % number)
        right.append(int(response.content) == number)

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, client, number)
        async with client.stream("POST", "/echo", content=pieces()) as response:
            digest = hashlib.sha256()
            async for piece in response.aiter_bytes():
                digest.update(piece)
    assert right == [True] * 100
    assert digest.digest() == WHOLE


async def with_aiohttp(url: str) -> tuple[bytes, list[bytes], bytes]:
    async def upload() -> AsyncIterator[bytes]:
        for piece in PIECES:
            yield piece

    async with aiohttp.ClientSession(url) as session:
        async with session.get("/file") as response:
            file = await response.read()
        async with session.get("/lines/3") as response:
            lines = [line async for line in response.content]
        async with session.post("/echo", data=upload(), expect100=True) as response:
            back = await response.read()
    return file, lines, back


def test_aiohttp(url: str) -> None:
    file, lines, back = asyncio.run(with_aiohttp(url))
    assert file == FILE
    assert lines == [b"line 0\n", b"line 1\n", b"line 2\n"]
    assert hashlib.sha256(back).digest() == WHOLE


class _Shared(io.BufferedReader):
    """One reader for all responses on a connection: each would close it behind itself."""

    def makefile(self, mode: str) -> _Shared:
        """What http.client asks of a socket."""
        return self

    def close(self) -> None:
        """Not yet."""


def test_pipelined_requests_are_answered_in_order(url: str) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    gets = [f"GET /lines/{n} HTTP/1.1\r\nHost: a\r\n\r\n" for n in range(1, 20)]
    post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    with socket.create_connection((host, int(port)), 5) as sock:
        sock.sendall("".join([*gets, post, *gets]).encode())
        shared = _Shared(sock.makefile("rb", buffering=0))
        answers = [read_answer(shared) for _ in range(39)]
        io.BufferedReader.close(shared)
    lengths = [answer.count(b"\n") for answer in answers]
    assert lengths == [*range(1, 20), 0, *range(1, 20)]
    assert answers[19] == b"hello"


def read_answer(shared: _Shared) -> bytes:
    response = http.client.HTTPResponse(shared)  # type: ignore[arg-type]
    response.begin()
    assert response.status == 200
    return response.read()
