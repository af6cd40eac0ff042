"""Who may enter a door, on real sockets: the user of the process that connects to a Unix socket."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from haclient.core.config import Bind, Config, InheritedBind, Mode, TcpBind, UnixBind
from haclient.net.listening import BindError, listen_on
from haclient.proxy.admission import PATIENCE, TOLD_AT_ONCE
from haclient.proxy.record import Reason, TurnedAway
from tests.loopback.test_sidecar import ANY, GET, Scene, ask, scene
from tests.support.loopback import eventually

ME = os.geteuid()
SOMEBODY = ME + 1


def guarded(s: Scene, bind: Bind, *uids: int, places: int = 4096) -> Config:
    """The door, for these users alone."""
    config = s.config(bind)
    (listener,) = config.listeners
    guard = frozenset(uids) if uids else None
    return replace(config, listeners=(replace(listener, allow_uids=guard, max_connections=places),))


@asynccontextmanager
async def door_for(
    folder: Path, *uids: int, places: int = 4096
) -> AsyncIterator[tuple[Scene, list[TurnedAway]]]:
    bind = UnixBind(str(folder / "door"))
    turned_away: list[TurnedAway] = []
    async with scene(bind) as s:
        s.sidecar.gateway.tell_turned_away = turned_away.append
        s.sidecar.apply(guarded(s, bind, *uids, places=places))
        yield s, turned_away


async def whole_answer(stream: trio.SocketStream) -> bytes:
    await stream.send_all(GET)
    return b"".join([bytes(piece) async for piece in stream])


def request_id_in(answer: bytes) -> str:
    """By which the log knows it, in the head and in the content."""
    head, content = answer.split(b"\r\n\r\n", 1)
    found = re.search(rb"\r\nX-Request-Id: ([0-9a-f]{32})\r\n", head)
    assert found is not None, answer
    assert json.loads(content)["request_id"] == found[1].decode()
    return found[1].decode()


async def test_whose_user_is_listed_may_enter(tmp_path: Path) -> None:
    async with door_for(tmp_path, SOMEBODY, ME) as (s, turned_away), await s.connect() as stream:
        assert (await ask(stream)).startswith(b"HTTP/1.1 200 OK")
        assert turned_away == []


async def test_anybody_else_is_told_so(tmp_path: Path) -> None:
    async with door_for(tmp_path, SOMEBODY) as (s, turned_away), await s.connect() as stream:
        answer = await whole_answer(stream)
        (door,) = s.sidecar.doors

        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        assert b"\r\nProxy-Status: haclient; error=http_request_denied" in answer
        assert b"user id %d may not use this door" % ME in answer
        request_id = request_id_in(answer)
        assert turned_away == [
            TurnedAway(
                listener="door0",
                client="unix",
                reason=Reason.UID,
                detail=f"user id {ME} is not in allow_uids",
                request_id=request_id,
            )
        ]
        assert door.turned_away == {"uid": 1}
        assert (s.origin.executed, s.records) == (0, [])
        await eventually(lambda: not door.being_told, 5.0)


async def test_who_says_nothing_is_not_kept(tmp_path: Path) -> None:
    async with door_for(tmp_path, SOMEBODY) as (s, _), await s.connect() as stream:
        with trio.fail_after(5 * PATIENCE):
            assert await stream.receive_some() == b""


async def test_an_upload_of_his_is_not_taken(tmp_path: Path) -> None:
    async with door_for(tmp_path, SOMEBODY) as (s, _), await s.connect() as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(bytes(16 << 20))


async def test_another_protocol_is_not_answered_in_http(tmp_path: Path) -> None:
    async with door_for(tmp_path, SOMEBODY) as (s, turned_away):
        config = s.sidecar.config
        listeners = (replace(config.listeners[0], mode=Mode.TCP),)
        s.sidecar.apply(replace(config, listeners=listeners))
        async with await s.connect() as stream:
            with trio.fail_after(PATIENCE / 2):
                assert await stream.receive_some() == b""
        assert len(turned_away) == 1


async def test_a_crowd_of_them_keeps_nobody_out(tmp_path: Path) -> None:
    """They have a few of the places, and none for long: whoever may is served at once."""
    async with (
        door_for(tmp_path, SOMEBODY, places=8) as (s, turned_away),
        AsyncExitStack() as crowd,
    ):
        for _ in range(200):
            await crowd.enter_async_context(await s.connect())
        await eventually(lambda: len(turned_away) == 200, 5.0)
        (door,) = s.sidecar.doors
        assert len(door.being_told) <= 2 < TOLD_AT_ONCE
        bind = s.sidecar.config.listeners[0].bind
        s.sidecar.apply(guarded(s, bind, ME, places=8))
        with trio.fail_after(1.0):
            async with await s.connect() as stream:
                assert (await ask(stream)).startswith(b"HTTP/1.1 200 OK")


async def test_a_reload_lets_others_in_and_lets_who_is_inside_stay(tmp_path: Path) -> None:
    async with door_for(tmp_path) as (s, _), await s.connect() as inside:
        bind = s.sidecar.config.listeners[0].bind
        assert await ask(inside)
        s.sidecar.apply(guarded(s, bind, SOMEBODY))
        assert await ask(inside)
        async with await s.connect() as stream:
            assert (await whole_answer(stream)).startswith(b"HTTP/1.1 403 ")


# --- sockets --------------------------------------------------------------------------------------


async def test_a_mode_that_a_reload_changes(tmp_path: Path) -> None:
    path = tmp_path / "door"
    bind = UnixBind(str(path))
    async with scene(bind) as s:
        (listener,) = s.config(bind).listeners

        def with_mode(mode: str | None, *more: Bind) -> Config:
            config = s.config(bind, *more)
            return replace(
                config, listeners=(replace(listener, socket_mode=mode), *config.listeners[1:])
            )

        s.sidecar.apply(with_mode("0600"))
        assert path.stat().st_mode & 0o777 == 0o600
        with listen_on(ANY, {}) as taken:
            busy = TcpBind("127.0.0.1", taken.getsockname()[1])
            with pytest.raises(BindError):
                s.sidecar.apply(with_mode("0666", busy))
        assert path.stat().st_mode & 0o777 == 0o600, "the reload was refused, whole"
        s.sidecar.apply(with_mode(None))
        assert path.stat().st_mode & 0o777 == 0o600


async def test_an_inherited_tcp_socket_cannot_say_which_user_connects() -> None:
    inherited = listen_on(ANY, {})
    bind = InheritedBind("orders")
    async with scene(ANY) as s:
        s.sidecar._inherited["orders"] = [inherited]
        with pytest.raises(
            BindError, match="listener door0 has allow_uids, and systemd:orders is no"
        ):
            s.sidecar.apply(guarded(s, bind, ME))
        # It is there still for a file that asks for less.
        s.sidecar.apply(guarded(s, bind))
        async with await s.connect() as stream:
            assert (await ask(stream)).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("place", ["0.0.0.0", "::"])
async def test_what_an_inherited_socket_is_bound_to_decides_as_a_written_bind_does(
    place: str,
) -> None:
    """At a reload too: for one that is there already, and for one that is new."""
    bind = InheritedBind("orders")
    async with scene(ANY) as s:
        s.sidecar._inherited["orders"] = [listen_on(TcpBind(place, 0), {})]
        private = s.config(bind)
        meant = replace(private, listeners=(replace(private.listeners[0], public=True),))
        why = "listener door0: systemd:orders is bound to .*: others on the network can use it"
        with pytest.raises(BindError, match=why):
            s.sidecar.apply(private)
        s.sidecar.apply(meant)
        with pytest.raises(BindError, match=why):
            s.sidecar.apply(private)
        assert s.sidecar.config == meant


async def test_an_inherited_unix_socket_is_local(tmp_path: Path) -> None:
    inherited = listen_on(UnixBind(str(tmp_path / "door")), {})
    async with scene(ANY) as s:
        s.sidecar._inherited["orders"] = [inherited]
        s.sidecar.apply(s.config(InheritedBind("orders")))
        async with await s.connect() as stream:
            assert (await ask(stream)).startswith(b"HTTP/1.1 200 OK")
