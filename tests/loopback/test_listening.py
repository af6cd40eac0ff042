"""Listening sockets: what is bound, what is said when it cannot be, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from haclient.core.config import InheritedBind, TcpBind, UnixBind
from haclient.net.listening import (
    BindError,
    accept,
    change_mode,
    listen_on,
    place_of,
    stop_listening,
)
from haclient.types import Endpoint
from tests.support.loopback import needs_ipv6
from tests.support.sidecar import free_port

ANY = TcpBind("127.0.0.1", 0)


def is_there(path: str) -> bool:
    return os.path.exists(path)


# --- TCP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)], ids=["IPv4", "IPv6"]
)
async def test_a_tcp_listener(address: str) -> None:
    with listen_on(TcpBind(address, 0), {}) as sock:
        port = sock.getsockname()[1]
        assert place_of(sock) == TcpBind(address, port)
        with pytest.raises(BlockingIOError):
            accept(sock)
        with socket.create_connection((address, port)) as client:
            await trio.lowlevel.wait_readable(sock)
            transport = accept(sock)
            assert transport.endpoint == Endpoint(address, client.getsockname()[1])
            assert transport.local == Endpoint(address, port)
            assert transport._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            client.sendall(b"hello")
            assert await transport.receive_some() == b"hello"
            transport.close()


async def test_a_port_can_be_bound_again_at_once() -> None:
    """Connections of the last daemon are still in TIME_WAIT."""
    with listen_on(ANY, {}) as sock:
        bind = TcpBind("127.0.0.1", sock.getsockname()[1])
        with socket.create_connection((bind.address, bind.port)):
            await trio.lowlevel.wait_readable(sock)
            accept(sock).close()
    listen_on(bind, {}).close()


@needs_ipv6
async def test_ipv6_leaves_ipv4_alone() -> None:
    # Not one that the kernel chooses for "::": over IPv4 a client may have that.
    port = free_port()
    with listen_on(TcpBind("::", port), {}):
        listen_on(TcpBind("0.0.0.0", port), {}).close()


async def test_an_address_in_use() -> None:
    with listen_on(ANY, {}) as sock:
        bind = TcpBind("127.0.0.1", sock.getsockname()[1])
        with pytest.raises(BindError) as raised:
            listen_on(bind, {})
    assert str(raised.value) == (
        f"cannot listen on {bind}: Address already in use: "
        "another process listens there; end it, or choose another bind"
    )


async def test_an_address_of_somebody_else() -> None:
    with pytest.raises(BindError) as raised:
        listen_on(TcpBind("192.0.2.1", 8080), {})
    assert str(raised.value) == (
        "cannot listen on 192.0.2.1:8080: Cannot assign requested address: "
        "no interface of this machine has that address"
    )


# --- Unix sockets ---------------------------------------------------------------------------------


async def test_a_unix_listener(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    bind = UnixBind(path)
    sock = listen_on(bind, {})
    assert place_of(sock) == UnixBind(str(path))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        await trio.lowlevel.wait_readable(sock)
        transport = accept(sock)
        assert transport.endpoint.is_unix
        client.sendall(b"hello")
        assert await transport.receive_some() == b"hello"
        transport.close()
    stop_listening(sock, bind)
    assert not is_there(path)
    stop_listening(sock, bind)


async def test_what_a_killed_daemon_left_behind_is_cleared(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    listen_on(UnixBind(path), {}).close()
    assert is_there(path)
    listen_on(UnixBind(path), {}).close()


async def test_a_door_that_somebody_answers_at_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    with listen_on(UnixBind(path), {}) as sock:
        with pytest.raises(BindError, match="another process listens there"):
            listen_on(UnixBind(path), {})
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            await trio.lowlevel.wait_readable(sock)
            accept(sock).close()


async def test_another_daemons_socket_at_the_same_path_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "door"
    first = listen_on(UnixBind(str(path)), {})
    path.unlink()
    second = listen_on(UnixBind(str(path)), {})
    stop_listening(first, UnixBind(str(path)))
    assert path.is_socket()
    stop_listening(second, UnixBind(str(path)))
    assert not path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "door"
    path.write_text("precious")
    with pytest.raises(BindError, match="something that is no socket is there"):
        listen_on(UnixBind(str(path)), {})
    assert path.read_text() == "precious"


async def test_a_link_that_leads_nowhere_is_left_alone(tmp_path: Path) -> None:
    """The kernel says EADDRINUSE, and nobody listens."""
    path = tmp_path / "door"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(BindError) as raised:
        listen_on(UnixBind(str(path)), {})
    assert str(raised.value) == (
        f"cannot listen on unix:{path}: a symbolic link is there, and leads to nothing; remove it, or "
        "choose another bind"
    )
    assert path.is_symlink()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "no" / "door")
    with pytest.raises(BindError) as raised:
        listen_on(UnixBind(path), {})
    assert str(raised.value) == (
        f"cannot listen on unix:{path}: No such file or directory: "
        "the folder does not exist; make it (RuntimeDirectory= in a unit)"
    )


async def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises((BindError, OSError)):
        listen_on(UnixBind(str(tmp_path / ("x" * 200))), {})


# --- inherited ones -------------------------------------------------------------------------------


async def test_an_inherited_socket_is_taken_once() -> None:
    with listen_on(ANY, {}) as sock:
        inherited = {"orders": [sock]}
        assert listen_on(InheritedBind("orders"), inherited) is sock
        assert not sock.getblocking()
        assert inherited == {}
        with pytest.raises(BindError, match="no socket named 'orders' was inherited"):
            listen_on(InheritedBind("orders"), inherited)


async def test_two_inherited_sockets_of_one_name() -> None:
    with contextlib.ExitStack() as stack:
        inherited = {"orders": [stack.enter_context(listen_on(ANY, {})) for _ in range(2)]}
        with pytest.raises(BindError, match="2 inherited sockets are named 'orders'"):
            listen_on(InheritedBind("orders"), inherited)


async def test_an_inherited_path_is_not_ours_to_remove(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    sock = listen_on(UnixBind(path), {})
    stop_listening(sock, InheritedBind("orders"))
    assert is_there(path)


# --- who may connect to a Unix socket -------------------------------------------------------------


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_of_a_unix_socket(mode: int, tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    before = os.umask(0o077)
    try:
        with listen_on(UnixBind(path), {}, mode):
            assert mode_of(path) == mode
    finally:
        os.umask(before)


def test_another_mode_for_one_that_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    with listen_on(UnixBind(path), {}, 0o600) as sock:
        assert change_mode(sock, path, 0o660) == 0o600
        assert mode_of(path) == 0o660


def test_what_is_not_ours_keeps_its_mode(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    with listen_on(UnixBind(path), {}, 0o600) as sock:
        os.rename(path, path + ".old")
        assert change_mode(sock, path, 0o660) == 0o660  # nothing is there
        Path(path).touch(0o640)
        change_mode(sock, path, 0o660)
        assert mode_of(path) == 0o640
        assert mode_of(path + ".old") == 0o600
