"""A proxy, its servers, and a router in between: each a network namespace.

    client (the proxy, and a raw client)        router             servers
    10.78.0.2  u0 ─────────────────── d0 10.78.0.1   c0 10.77.0.1 ─── 10.77.0.2  a
                                                     c1 10.77.1.1 ─── 10.77.1.2  b

tests.support.netns has the cables straight from the client to each server. With these a pulled
cable shows at the client at once, as it does for nobody whose servers are in another rack; here a
router stands in between, drops what is to be dropped, and says "host unreachable" after the three
seconds in which it asked for the neighbour in vain. Servers and faults are netns's own.

The proxies start from this process's main thread and die with it (PR_SET_PDEATHSIG): a bench that
was killed leaves none behind. Names bear the process id, as in netns.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.bench.peers.proxy import DOOR, Proxy
from tests.support.netns import PORT, ROOT, Namespace, Server
from tests.support.netns_socket import connect_in
from tests.support.origin_process import OriginProcess

__all__ = ["Host", "Rig", "rig"]

PATIENCE = 30.0
"""Seconds for anything that is only waited for."""

FIREWALL = """
table inet fault {{
  chain forward {{ type filter hook forward priority 0; {jumps} }}
  {chains}
}}
"""
"""A chain for each cable, as netns has them; but these packets pass through."""


async def set_sysctls(namespace: Namespace, *settings: str) -> None:
    """Kernel settings of a namespace, as NAME=VALUE."""
    await trio.run_process(namespace.entering("sysctl", "-qw", *settings))


class Router(Namespace):
    """Stands between the client and the servers; netns's Server plugs its cable in here."""

    async def boot(self, servers: int) -> None:
        """Comes up, with a chain for each cable to come."""
        await self.add()
        await set_sysctls(self, "net.ipv4.ip_forward=1")
        ports = [f"c{number}" for number in range(servers)]
        jumps = " ".join(f'iifname "{port}" jump {port};' for port in ports)
        chains = "\n".join(f"chain {port} {{ }}" for port in ports)
        await self.nft(FIREWALL.format(jumps=jumps, chains=chains))

    async def plug_in(self, client: Namespace) -> None:
        """The cable to the client, and the client's way to everywhere."""
        await self.ip(
            f"link add d0 index 20 type veth peer name u0 netns {client.name}",
            "addr add 10.78.0.1/24 dev d0",
            "link set d0 up",
        )
        await client.ip(
            "addr add 10.78.0.2/24 dev u0", "link set u0 up", "route add default via 10.78.0.1"
        )


class Host(Server):
    """A server behind the router."""

    def __init__(self, number: int, router: Router, receive_buffer: int | None) -> None:
        super().__init__(number, router, is_ipv6=False)
        self._receive_buffer = receive_buffer

    async def plug_in(self) -> None:
        """As Server does; the way back to the client leads over the router."""
        await super().plug_in()
        await self.ip(f"route add default via 10.77.{self._number}.1")

    async def start_up(self) -> None:
        """The host boots, has its cable, and starts its origin."""
        await self.boot()
        await self.plug_in()
        await self.start_origin()

    async def start_origin(self) -> None:
        """Another life of the origin, without a memory of the one before."""
        words = ["tests.support.origin", "--bind", f"{self.address}:{PORT}", "--name", self.letter]
        if self._receive_buffer:
            words += ["--receive-buffer", str(self._receive_buffer)]
        self._process = await self.start(*words)
        self.origin = OriginProcess(self._process)
        with trio.fail_after(PATIENCE):
            await self.origin.started()

    async def stop_origin(self) -> None:
        """kill -9."""
        await self.close()


@dataclass(frozen=True, slots=True)
class Rig:
    """All running."""

    proxy: Proxy
    client: Namespace
    servers: tuple[Host, Host]

    async def connect(self) -> trio.SocketStream:
        """A connection of a program beside the proxy."""
        return await connect_in(self.client.name, DOOR)


@asynccontextmanager
async def rig(proxy: Proxy, *, receive_buffer: int | None = None) -> AsyncIterator[Rig]:
    """Builds one and, whatever happens, takes it down again."""
    client, router = Namespace("client"), Router("router")
    servers = (Host(0, router, receive_buffer), Host(1, router, receive_buffer))
    try:
        await client.add()
        await router.boot(len(servers))
        await router.plug_in(client)
        for server in servers:
            await server.start_up()
        with tempfile.TemporaryDirectory(prefix="haclient-peers-") as folder:
            async with running(proxy, client, Path(folder)):
                yield Rig(proxy, client, servers)
    finally:
        with trio.CancelScope(shield=True):
            for server in servers:
                await server.close()
            for namespace in (*servers, client, router):
                await namespace.remove()


@asynccontextmanager
async def running(proxy: Proxy, client: Namespace, folder: Path) -> AsyncIterator[None]:
    """The proxy, from when its door is open until it is gone."""
    if proxy.sysctls:
        await set_sysctls(client, *proxy.sysctls)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 (of the main thread: see above)
            client.entering("setpriv", "--pdeathsig", "KILL", *proxy.command(folder)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=ROOT,
        )
    try:
        with trio.move_on_after(PATIENCE) as waiting:
            await its_door_is_open(client, process)
        if waiting.cancelled_caught or process.poll() is not None:
            raise RuntimeError(f"{proxy.name} does not start: {log.read_text(errors='replace')}")
        yield
        if process.poll() is not None:
            print(f"{proxy.name} broke down:\n{log.read_text(errors='replace')}", file=sys.stderr)
    finally:
        process.kill()
        process.wait()


async def its_door_is_open(client: Namespace, process: subprocess.Popen[bytes]) -> None:
    """Waits until it accepts connections, or has ended."""
    while process.poll() is None:
        try:
            stream = await connect_in(client.name, DOOR)
        except OSError:
            await trio.sleep(0.05)
        else:
            await stream.aclose()
            return
