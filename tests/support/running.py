"""A data plane and its admin endpoint within the test's own process, on real sockets.

    async with running(orders=[origin.endpoint]) as daemon:
        answer = await asked(daemon, "GET /status")

Stands for the daemon: `reload` and `drain` answer what the test says.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import trio

from haclient.core.config import (
    AdminSettings,
    Bind,
    Config,
    ListenerSettings,
    LogSettings,
    Mode,
    TcpBind,
)
from haclient.core.spec import Target
from haclient.net.static_resolver import StaticResolver
from haclient.ops.admin_server import AdminServer
from haclient.ops.book import Book
from haclient.ops.changes import watch_changes
from haclient.ops.log import Log
from haclient.ops.status_report import OrderReport
from haclient.proxy.sidecar import Sidecar
from haclient.types import Endpoint

__all__ = ["Answer", "Running", "asked", "running"]

LOOPBACK = TcpBind("127.0.0.1", 0)


class Nobody:
    """Knows no name."""

    async def resolve(self, host: str, port: int) -> Any:
        raise AssertionError(f"{host} was asked for")


class Running:
    """Implements haclient.ops.control.Control."""

    def __init__(self, sidecar: Sidecar, book: Book, admin: AdminServer, log_path: Path) -> None:
        self.sidecar = sidecar
        self.book = book
        self.admin = admin
        self.config_file = "/etc/haclient/haclient.toml"
        self.generation = 1
        self.started_at = 1_795_780_800.0
        self.is_ready = True
        self.orders: list[str] = []
        self.report = OrderReport(is_done=True, lines=("nothing changed",), generation=2)
        self._log_path = log_path

    @property
    def door(self) -> Endpoint:
        """Of the first listener."""
        host, _, port = self.sidecar.doors[0].address.rpartition(":")
        return Endpoint(host, int(port))

    @property
    def logged(self) -> str:
        """All lines so far."""
        return self._log_path.read_text()

    def reload(self) -> OrderReport:
        self.orders.append("reload")
        return self.report

    def drain(self) -> OrderReport:
        self.orders.append("drain")
        return self.report


class Answer:
    """A whole response."""

    def __init__(self, data: bytes) -> None:
        head, _, self.content = data.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(line.split(" ")[1])
        self.fields = dict(field.lower().split(": ", 1) for field in fields)

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@contextlib.asynccontextmanager
async def running(
    *targets: Sequence[Endpoint],
    bind: Bind = LOOPBACK,
    mode: Mode = Mode.REVERSE,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Targets "a", "b", …, with a listener of the same name each.

    Args:
        targets: the endpoints of each, in the order in which they are asked.
        bind: of the admin endpoint.
        mode: of every listener.
        settings: of every target.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stderr"
        with path.open("wb") as stderr:
            log = Log(LogSettings(level="debug"), stderr, under_journal=False)
        async with trio.open_nursery() as nursery:
            book = Book()
            config = configuration(targets, mode, settings)
            faults: list[Exception] = []
            sidecar = Sidecar(
                config,
                nursery,
                StaticResolver(entries(targets), Nobody()),
                tell=book.tell,
                tell_fault=faults.append,
            )
            daemon = Running(sidecar, book, AdminServer.__new__(AdminServer), path)
            daemon.admin = AdminServer(daemon, book, log)
            sidecar.start()
            daemon.admin.start(AdminSettings(bind=bind), nursery)
            nursery.start_soon(watch_changes, daemon, book, log)
            try:
                yield daemon
            finally:
                sidecar.gateway.engine.close()
                nursery.cancel_scope.cancel()
                log.close()
        assert faults == []


def configuration(
    targets: Sequence[Sequence[Endpoint]], mode: Mode, settings: dict[str, Any]
) -> Config:
    names = "abcdefgh"[: len(targets)]
    scheme = "tcp" if mode is Mode.TCP else "http"
    return Config(
        targets={
            name: Target(
                urls=[f"{scheme}://{name}{port}.internal:{port}" for port in _ports(endpoints)],
                **{"order": "listed", **settings},
            )
            for name, endpoints in zip(names, targets, strict=True)
        },
        listeners=tuple(
            ListenerSettings(
                name=name, bind=TcpBind(f"127.0.0.{number}", 0), target=name, mode=mode
            )
            for number, name in enumerate(names, 1)
        ),
    )


def entries(
    targets: Sequence[Sequence[Endpoint]],
) -> dict[tuple[str, int], tuple[Endpoint, ...]]:
    return {
        (f"{name}{each.port}.internal", each.port): (each,)
        for name, endpoints in zip("abcdefgh", targets, strict=False)
        for each in endpoints
    }


def _ports(endpoints: Sequence[Endpoint]) -> list[int]:
    return [each.port for each in endpoints]


async def connected(address: str) -> trio.SocketStream:
    """To "127.0.0.1:80" or "unix:/path"."""
    if address.startswith("unix:"):
        return await trio.open_unix_socket(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def asked(
    address: str, line: str, *fields: str, content: bytes = b"", host: str = "localhost"
) -> Answer:
    """One request on a connection of its own, and the whole answer to it."""
    lines = [f"{line} HTTP/1.1", "Connection: close", *fields]
    if host:
        lines.append(f"Host: {host}")
    if content:
        lines.append(f"Content-Length: {len(content)}")
    async with await connected(address) as stream:
        await stream.send_all("\r\n".join([*lines, "", ""]).encode() + content)
        with trio.fail_after(10):
            return Answer(b"".join([piece async for piece in stream]))


def is_root() -> bool:
    """Whether permissions mean nothing to this process."""
    return os.geteuid() == 0
