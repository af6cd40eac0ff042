"""A client and its servers in network namespaces of their own, with firewalls and cables to spoil.

On loopback a server can be blackholed by a socket filter, and much is shown with that. Not so: a
cable that is pulled, a loss in one direction only, a packet lost now and then, a router that says
"unreachable", a host that comes back without its memory. For these each end needs a network stack
of its own. Namespaces give it one, as root, on any Linux; a virtual machine for each would be slow,
and netem is not in every kernel.

A world is one namespace for the client and one for each server, each server at the end of a cable
(veth pair) of its own. No cable leaves the world, so nothing does, and all worlds may use the same
addresses side by side:

    client  c0 10.77.0.1 ────── 10.77.0.2 eth0  server a          (and fd77:0:0:N::1, ::2)
            c1 10.77.1.1 ────── 10.77.1.2 eth0  server b

    async with world(servers=2) as w:
        await w.servers[0].origin.set(Behaviour(think=30))
        await w.client.ask()
        await w.servers[0].executes()
        await w.servers[0].drop()
        reply = await w.client.reply()

All packets are dropped where they arrive, never where they leave: a firewall on the sender's own
machine tells its TCP that the segment did not go out, and no network does that.

The client is this module as a process (`python -m tests.support.netns SETTINGS`): a haclient.Client
that takes orders on standard input and tells every event on standard output. Instants are those of
`time.perf_counter`, which on Linux is one clock for all processes; so is trio's, but for its offset.

Names bear the process id. What a run leaves behind that was killed outright (its processes end by
themselves, with their standard input) is removed by the next one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from subprocess import PIPE
from typing import Any

import trio

import haclient
from haclient.events import Event
from haclient.net.resolver import SystemResolver
from haclient.net.static_resolver import StaticResolver
from haclient.ops.trace_json import as_json
from haclient.types import Endpoint, Order
from tests.support.origin import LineReader
from tests.support.origin_process import OriginProcess

__all__ = ["NAME", "PORT", "Client", "Reply", "Server", "World"]
__all__ += ["remove_leftovers", "why_not", "world"]

NAME, PORT = "orders.test", 8080
URL = f"http://{NAME}:{PORT}/orders/7"
ROOT = Path(__file__).parents[2]

PREFIX = "haclient-test"
PATIENCE = 20.0
"""Seconds for anything that is only waited for; what is measured has its own bounds."""

FIREWALL = """
table inet fault {{
  chain input {{ type filter hook input priority 0; {jumps} }}
  {chains}
}}
table inet seen {{
  counter sent {{ }}
  counter received {{ }}
  chain input {{ type filter hook input priority -10; tcp sport {port} counter name received; }}
  chain output {{ type filter hook output priority -10; tcp dport {port} counter name sent; }}
}}
"""
"""A chain for each cable, to be filled by a fault and flushed again; and what the client counts."""

LOSS = "numgen random mod 100 < {percent} counter drop"
REJECT_IPV4 = "meta l4proto tcp reject with icmp type host-unreachable"
REJECT_IPV6 = "meta l4proto tcp reject with icmpv6 type addr-unreachable"
"""TCP alone: neighbour discovery (RFC 4861) is ICMPv6 itself, and goes no further than a router."""

_numbers = count(1)


class CommandError(Exception):
    """`ip` or `nft` would not; the message is theirs."""


async def why_not() -> str:
    """Why there are no namespaces to be had here; empty where there are."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [program for program in ("ip", "nft") if shutil.which(program) is None]:
        return f"network namespaces need {' and '.join(missing)} (iproute2, nftables)"
    trial = Namespace("trial")
    try:
        await trial.add()
        await trial.ip("link add c0 type veth peer name c1")
        await trial.nft("add table inet trial; add chain inet trial input")
        for rule in (LOSS.format(percent=5), REJECT_IPV4, REJECT_IPV6):
            await trial.nft(f"add rule inet trial input {rule}")
    except CommandError as error:
        return f"network namespaces do not work here: {error}"
    finally:
        await trial.remove()
    return ""


async def remove_leftovers() -> None:
    """Removes the namespaces of runs that were killed, known by a process that is no more."""
    listed = await _run("ip", "netns", "list")
    for name, pid in re.findall(rf"^({PREFIX}-(\d+)-\S+)", listed.decode(), re.MULTILINE):
        if not _is_running(pid):
            await _remove(name)


async def _remove(name: str) -> None:
    with trio.CancelScope(shield=True):
        await _run("ip", "netns", "del", name, check=False)


def _new_name(role: str) -> str:
    return f"{PREFIX}-{os.getpid()}-{next(_numbers)}-{role}"


def _is_running(pid: str) -> bool:
    return Path("/proc", pid).exists()


async def _run(*command: str, script: str = "", check: bool = True) -> bytes:
    with trio.fail_after(PATIENCE):
        ran = await trio.run_process(
            command, stdin=script.encode(), capture_stdout=True, capture_stderr=True, check=False
        )
    if check and ran.returncode:
        message = ran.stderr.decode().strip() or f"exit code {ran.returncode}"
        raise CommandError(f"{' '.join(command)}: {message.splitlines()[0]}")
    return ran.stdout


class Namespace:
    """A network namespace of this process's own."""

    def __init__(self, role: str) -> None:
        self.name = _new_name(role)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    async def add(self) -> None:
        """Makes it, its loopback up (haclient asks the kernel questions there)."""
        await _run("ip", "netns", "add", self.name)
        await self.ip("link set lo up")

    async def remove(self) -> None:
        """Harmless where there is none."""
        await _remove(self.name)

    async def ip(self, *lines: str) -> None:
        """Carries out `ip` commands in there."""
        await _run("ip", "-n", self.name, "-batch", "-", script="\n".join(lines) + "\n")

    async def nft(self, script: str) -> None:
        """Carries out an nft script in there, as one transaction."""
        await _run(*self.entering("nft", "-f", "-"), script=script)

    async def listing(self, what: str) -> bytes:
        """What nft lists, as JSON."""
        return await _run(*self.entering("nft", "-j", "list", *what.split()))

    def entering(self, *command: str) -> list[str]:
        """The command that runs `command` in there, under the same process id."""
        return ["ip", "netns", "exec", self.name, *command]

    async def start(self, *words: str) -> trio.Process:
        """Starts a Python module in there, to be spoken with through pipes."""
        command = self.entering(sys.executable, "-m", *words)
        return await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE, cwd=ROOT)


async def _end(process: trio.Process) -> None:
    """Kills and buries; harmless when that was done already."""
    with trio.CancelScope(shield=True):
        process.kill()
        await process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                await trio.aclose_forcefully(pipe)


class Server(Namespace):
    """An origin, its host, and its cable to the client; `number` counts from 0.

    A fault returns the instant just before it.
    """

    def __init__(self, number: int, client: Namespace, is_ipv6: bool) -> None:
        self.letter = "abcdef"[number]
        super().__init__(self.letter)
        self.port_name = f"c{number}"
        self.address = f"fd77:0:0:{number}::2" if is_ipv6 else f"10.77.{number}.2"
        self._number = number
        self._client = client
        self._process: trio.Process | None = None
        self.origin: OriginProcess
        """For what has no short form below."""

    async def boot(self) -> None:
        """The host comes up, without any memory and without a cable."""
        await self.add()
        await self.nft(FIREWALL.format(jumps="jump cable;", chains="chain cable { }", port=PORT))

    async def plug_in(self) -> None:
        """A new cable to the client.

        The index: where both ends have the same one, Linux takes the device for a real one and looks
        at its carrier once a second (linkwatch_urgent_event); so long it has no IPv6 (measured).
        """
        client, port = self._client.name, self.port_name
        ends = f"{port} netns {client} index {10 + self._number} type veth peer name eth0"
        ends += f" netns {self.name}"
        await _run("ip", "link", "add", *ends.split())
        await self._client.ip(*self._addresses(port, 1))
        await self.ip(*self._addresses("eth0", 2))

    def _addresses(self, interface: str, host: int) -> tuple[str, ...]:
        number = self._number
        return (
            f"addr add 10.77.{number}.{host}/24 dev {interface}",
            # nodad: the address is to be good at once (RFC 4862, section 5.4, takes a second).
            f"addr add fd77:0:0:{number}::{host}/64 dev {interface} nodad",
            f"link set {interface} up",
        )

    async def start_up(self) -> None:
        """The host boots, has its cable, and starts its origin."""
        await self.boot()
        await self.plug_in()
        host = f"[{self.address}]" if ":" in self.address else self.address
        words = ("tests.support.origin", "--bind", f"{host}:{PORT}", "--name", self.letter)
        self._process = await self.start(*words)
        self.origin = OriginProcess(self._process)
        with trio.fail_after(PATIENCE):
            await self.origin.started()

    async def close(self) -> None:
        """Ends the origin, if one was started."""
        if self._process is not None:
            await _end(self._process)

    async def executes(self, requests: int = 1) -> None:
        """Waits until so many requests were read, and their acknowledgements are surely back."""
        with trio.fail_after(PATIENCE):
            while await self.origin.executed() < requests:  # noqa: ASYNC110 (a process is asked)
                await trio.sleep(0.02)
        await trio.sleep(0.15)  # a delayed acknowledgement takes 40 ms

    # --- faults ------------------------------------------------------------------------------

    async def drop(self, *, to_server: bool = True, to_client: bool = True) -> float:
        """Loses whatever arrives at the one end, the other, or both."""
        return await self._spoil("drop" if to_server else "", "drop" if to_client else "")

    async def lose(self, percent: int) -> float:
        """Loses so much of what arrives at either end, at random."""
        rule = LOSS.format(percent=percent)
        return await self._spoil(rule, rule)

    async def reject(self) -> float:
        """Answers what is sent to the server as a router does that has no way to it."""
        return await self._spoil(REJECT_IPV6 if ":" in self.address else REJECT_IPV4, "")

    async def _spoil(self, at_server: str, at_client: str) -> float:
        at = time.perf_counter()
        async with trio.open_nursery() as nursery:
            if at_server:
                nursery.start_soon(self.nft, f"add rule inet fault cable {at_server}")
            if at_client:
                rule = f"add rule inet fault {self.port_name} {at_client}"
                nursery.start_soon(self._client.nft, rule)
        return at

    async def heal(self) -> None:
        """Takes drop, lose and reject back."""
        await self.nft("flush chain inet fault cable")
        await self._client.nft(f"flush chain inet fault {self.port_name}")

    async def unplug(self, *, at_client: bool = False) -> float:
        """The link goes down, as told to the server's end or to the client's."""
        at = time.perf_counter()
        host, port = (self._client, self.port_name) if at_client else (self, "eth0")
        await host.ip(f"link set {port} down")
        return at

    async def reboot(self) -> float:
        """The host loses its memory and comes back; returns the instant after, no origin yet.

        A new namespace, made beforehand, takes the old one's place and address: so the host is away
        for some 50 ms only. The old one has no cable by then, and its farewells (FIN, RST) reach
        nobody.
        """
        old, self.name = self.name, _new_name(self.letter)
        try:
            await self.boot()
            await self._client.ip(f"link del {self.port_name}")
            await self.plug_in()
            at = time.perf_counter()
            await self.close()
            return at
        finally:
            await _remove(old)

    async def lost_packets(self) -> int:
        """How many `lose` has taken, at both ends."""
        both = await self.listing("chain inet fault cable")
        both += await self._client.listing(f"chain inet fault {self.port_name}")
        return sum(map(int, re.findall(rb'"packets": (\d+)', both)))


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request. `took` in seconds, `at` the instant; `by` the server's letter."""

    at: float
    took: float
    by: str = ""
    status: int = 0
    error: str = ""
    """The class in haclient.errors, where there was no answer."""
    may_have_been_processed: bool = False


class Client(Namespace):
    """The client's host, and the process there. `events` are lines of haclient.ops.trace_json."""

    def __init__(self) -> None:
        super().__init__("client")
        self.events: list[dict[str, Any]] = []
        self._process: trio.Process | None = None
        self._replies = 0
        self._has_ended = False
        self._news = trio.Event()

    async def boot(self, servers: int) -> None:
        """The host comes up; cables are their servers'."""
        await self.add()
        ports = [f"c{number}" for number in range(servers)]
        jumps = " ".join(f'iifname "{port}" jump {port};' for port in ports)
        chains = "\n".join(f"chain {port} {{ }}" for port in ports)
        await self.nft(FIREWALL.format(jumps=jumps, chains=chains, port=PORT))

    async def run(
        self, addresses: list[str], order: str, task_status: trio.TaskStatus[None]
    ) -> None:
        """Runs the process until cancelled; started once it takes orders."""
        settings = json.dumps({"addresses": addresses, "order": order})
        process = self._process = await self.start("tests.support.netns", settings)
        assert process.stdout is not None
        reader = LineReader(process.stdout)
        try:
            assert await reader.read_line() == b'"ready"'
            task_status.started()
            while line := await reader.read_line():
                self.events.append(json.loads(line))
                self._news.set()
                self._news = trio.Event()
        finally:
            self._has_ended = True
            self._news.set()
            await _end(process)

    async def ask(self, method: str = "GET", *, times: int = 1) -> None:
        """Makes requests, all at once; `reply` has what comes of them."""
        assert self._process is not None
        assert self._process.stdin is not None
        order = json.dumps({"method": method, "times": times})
        await self._process.stdin.send_all(order.encode() + b"\n")

    async def reply(self) -> Reply:
        """The next reply, in the order in which they came."""
        self._replies += 1
        line = await self.seen("reply", self._replies)
        return Reply(**{name: line[name] for name in line if name != "event"})

    async def seen(self, event: str, times: int = 1) -> dict[str, Any]:
        """Waits until the event came that often; returns that one."""
        with trio.fail_after(PATIENCE):
            while len(found := self.all(event)) < times:
                assert not self._has_ended, "the client's process broke down: see its stderr"
                await self._news.wait()
        return found[times - 1]

    def all(self, event: str) -> list[dict[str, Any]]:
        """Those of one kind that came so far."""
        return [line for line in self.events if line["event"] == event]

    def forget(self) -> None:
        """Events and replies so far."""
        self.events.clear()
        self._replies = 0

    async def packets(self) -> tuple[int, int]:
        """TCP segments sent and received so far, over all cables."""
        listing = json.loads(await self.listing("counters table inet seen"))["nftables"]
        counters = [each["counter"] for each in listing if "counter" in each]
        packets = {counter["name"]: int(counter["packets"]) for counter in counters}
        return packets["sent"], packets["received"]


@dataclass(frozen=True, slots=True)
class World:
    """A client and its servers, all running."""

    client: Client
    servers: list[Server]


@asynccontextmanager
async def world(
    servers: int = 2, *, order: str = "listed", is_ipv6: bool = False
) -> AsyncIterator[World]:
    """Builds a world and, whatever happens, takes it down again."""
    client = Client()
    its = [Server(number, client, is_ipv6) for number in range(servers)]
    try:
        await client.boot(servers)
        async with trio.open_nursery() as booting:
            for server in its:
                booting.start_soon(server.start_up)
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run, [server.address for server in its], order)
            yield World(client, its)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            for server in its:
                await server.close()
                await server.remove()
            await client.remove()


# -- The client's process ------------------------------------------------------------------------


async def main(addresses: list[str], order: str) -> None:
    """Takes orders, a JSON object a line, until standard input ends."""
    began_at = trio.current_time() - time.perf_counter()

    def tell(event: Event) -> None:
        print(json.dumps(as_json(event, began_at)), flush=True)

    endpoints = tuple(Endpoint(address, PORT) for address in addresses)
    resolver = StaticResolver({(NAME, PORT): endpoints}, SystemResolver())
    async with (
        haclient.Client(resolver=resolver, order=Order(order), observe=tell) as client,
        trio.open_nursery() as nursery,
        trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as orders,
    ):
        print('"ready"', flush=True)
        reader = LineReader(orders)
        while line := await reader.read_line():
            wanted = json.loads(line)
            for _ in range(wanted["times"]):
                nursery.start_soon(_ask, client, wanted["method"])
        nursery.cancel_scope.cancel()


async def _ask(client: haclient.Client, method: str) -> None:
    content = b"{}" if method in {"POST", "PUT"} else None
    began = time.perf_counter()
    reply: dict[str, object] = {"event": "reply"}
    try:
        response = await client.request(method, URL, content=content)
    except haclient.Error as error:
        reply["error"] = type(error).__name__
        reply["may_have_been_processed"] = error.may_have_been_processed
    else:
        reply["by"], reply["status"] = response.headers["X-Origin"], response.status
    now = time.perf_counter()
    print(json.dumps(reply | {"at": now, "took": now - began}), flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(lambda: main(**json.loads(sys.argv[1])))
