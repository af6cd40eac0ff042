"""The `websockets` package at both ends, and the sidecar between them: a tunnel after the 101."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from tests.support.command import needs_command
from tests.support.echo_server import noise
from tests.support.sidecar import sidecar

MEBIBYTE = noise(1 << 20)


class Server:
    """Echoes; "close CODE" is answered with a close, and how a connection ended is kept."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, str] | None] = []
        self.ended = threading.Semaphore(0)

    def converse(self, connection: ServerConnection) -> None:
        """One connection."""
        try:
            for message in connection:
                if isinstance(message, str) and message.startswith("close "):
                    connection.close(int(message.split()[1]), "as asked")
                    return
                connection.send(message)
        finally:
            close = connection.protocol.close_rcvd
            self.ends.append((close.code, close.reason) if close else None)
            self.ended.release()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture(params=["direct", pytest.param("sidecar", marks=needs_command)])
def url(request: pytest.FixtureRequest, server: Server) -> Iterator[str]:
    """Of the server, or of the sidecar in front of it."""
    with serve(server.converse, "127.0.0.1", 0, max_size=2 << 20) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        port = listening.socket.getsockname()[1]
        try:
            if request.param == "direct":
                yield f"ws://127.0.0.1:{port}/chat"
                return
            with sidecar(f"http://127.0.0.1:{port}") as door:
                yield f"ws://{door.address}/chat"
        finally:
            listening.shutdown()
            thread.join(10)


def opened(url: str, version: str | None = None) -> ClientConnection:
    fields = {"Sec-WebSocket-Version": version} if version else {}
    client = connect(
        url,
        proxy=None,
        open_timeout=5,
        max_size=2 << 20,
        compression=None,
        additional_headers=fields,
    )
    assert isinstance(client, ClientConnection)
    return client


def test_messages_come_back(url: str, server: Server) -> None:
    with opened(url) as client:
        for message in ("hello", "", "ä" * 1000, b"\x00\xff", MEBIBYTE):
            client.send(message)
            assert client.recv(5) == message
    assert server.ended.acquire(timeout=5)
    assert server.ends == [(1000, "")]


def test_twenty_mebibytes(url: str) -> None:
    # One after another: both ends of this package hold a lock while they send.
    with opened(url) as client:
        for number in range(20):
            client.send(message := bytes([number]) + MEBIBYTE)
            assert client.recv(5) == message


def test_pings_are_answered(url: str) -> None:
    with opened(url) as client:
        assert all(client.ping().wait(5) for _ in range(5))


def test_the_server_closes_with_a_code(url: str) -> None:
    with opened(url) as client:
        client.send("close 4001")
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(5)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "as asked")


def test_the_client_closes_with_a_code(url: str, server: Server) -> None:
    with opened(url) as client:
        client.close(4002, "enough")
    assert server.ended.acquire(timeout=5)
    assert server.ends == [(4002, "enough")]


def test_a_client_that_vanishes_is_noticed(url: str, server: Server) -> None:
    with opened(url) as client:
        client.send("hello")
        assert client.recv(5) == "hello"
        client.socket.shutdown(socket.SHUT_RDWR)
    assert server.ended.acquire(timeout=5)
    assert server.ends == [None]


def test_a_refusal_is_passed_on(url: str) -> None:
    # With a version that nobody speaks: 400 or 426 from the server, not from the sidecar.
    with pytest.raises(InvalidStatus) as caught:
        opened(url, version="7")
    assert caught.value.response.status_code in {400, 426}
    assert "websockets" in caught.value.response.headers["Server"]


def test_twenty_at_once(url: str) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(url)) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(f"message {number}")
        answers = [client.recv(5) for client in clients]
    assert answers == [f"message {number}" for number in range(20)]
