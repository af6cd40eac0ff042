"""The real name server of the tests: its port is its own from first to last, also while nobody listens."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from tests.support.dnsmasq import dnsmasq, needs_dnsmasq

pytestmark = needs_dnsmasq


def asked(client: socket.socket, port: int) -> int:
    """What became of it: 0, or the error's number."""
    try:
        client.connect(("127.0.0.1", port))
        client.send(b"?")
        client.recv(1)
    except OSError as error:
        return error.errno or 0
    return 0


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_killed_one_refuses_and_keeps_its_port(kind: socket.SocketKind, tmp_path: Path) -> None:
    with dnsmasq(tmp_path) as server:
        server.name("orders.test", "127.0.0.2")
        server.kill()
        with socket.socket(type=kind) as somebody:
            with pytest.raises(OSError) as caught:
                somebody.bind(("127.0.0.1", server.port))
            assert caught.value.errno == errno.EADDRINUSE
        with socket.socket(type=kind) as client:
            client.settimeout(10)
            assert asked(client, server.port) == errno.ECONNREFUSED
        server.start()
        server.name("orders.test", "127.0.0.3")
