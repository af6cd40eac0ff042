"""Five thousand slow requests at once through the sidecar: answers, memory, and a server that dies.

    python -m tests.bench.sidecar_outstanding [--requests 5000]

Each client has a connection of its own, and each request waits at the server until all are there.
First with one server: the daemon's memory while all are outstanding, by the request (PSS above what it had
when it was ready), then all are answered. Then with two servers that hold about half each: one is blackholed,
its listening socket too, and the time is taken until the other one gets what it held.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Sequence
from contextlib import AbstractContextManager
from time import monotonic  # noqa: TID251  (the clock that the servers' processes have, too)

import trio

from tests.bench.tables import median, print_table
from tests.support.holding_server import HoldingServer, holding_server
from tests.support.process_figures import pss_bytes
from tests.support.sidecar import Sidecar, sidecar

DESCRIPTORS = 16384
AT_ONCE = 64
"""Connects under way; more than the accept queue of a busy daemon would cost each a second."""

ARRIVE_WITHIN = 120.0
ANSWERED_WITHIN = 60.0
WINDOW = 4.0


class Load:
    """The clients."""

    def __init__(self, door: Sidecar) -> None:
        self._door = door
        self._room = trio.CapacityLimiter(AT_ONCE)
        self.sent = 0
        self.heads: list[bytes] = []

    async def ask(self, number: int) -> None:
        """One request on a connection of its own."""
        async with self._room:
            stream = await trio.open_tcp_stream("127.0.0.1", self._door.port)
            request = f"GET /slow/{number} HTTP/1.1\r\nHost: {self._door.address}\r\n\r\n"
            await stream.send_all(request.encode())
            self.sent += 1
        async with stream:
            data = b""
            while not data.endswith(b"ok\n") and (more := await stream.receive_some()):
                data += more
        self.heads.append(data.partition(b"\r\n")[0])

    @property
    def answered(self) -> int:
        """How many got what the server sent."""
        return self.heads.count(b"HTTP/1.1 200 OK")


async def all_held(servers: Sequence[HoldingServer], requests: int) -> list[int]:
    """Waits until all are outstanding; how many are at each."""
    with trio.fail_after(ARRIVE_WITHIN):
        while sum(counts := [await one.order("count") for one in servers]) < requests:  # noqa: ASYNC110  (another process has no event of ours)
            await trio.sleep(0.1)
    return counts


def door_to(*servers: HoldingServer, requests: int) -> AbstractContextManager[Sidecar]:
    """A daemon whose limits are out of the way."""
    target = {
        "max_connections": requests + 64,
        "response_timeout": "5m",
        "order": "shuffled",
        "failover_window": f"{WINDOW:g}s",
    }
    listener = {"max_connections": requests + 64}
    urls = [one.url for one in servers]
    return sidecar(*urls, target=target, listener=listener, descriptors=DESCRIPTORS)


async def memory(requests: int) -> list[list[str]]:
    async with holding_server("127.0.0.2:0") as server:
        with door_to(server, requests=requests) as door:
            before, load = pss_bytes(door.pid), Load(door)
            async with trio.open_nursery() as nursery:
                for number in range(requests):
                    nursery.start_soon(load.ask, number)
                await all_held([server], requests)
                held = pss_bytes(door.pid)
                await server.order("answer")
                nursery.cancel_scope.deadline = trio.current_time() + ANSWERED_WITHIN
    each = (held - before) / requests / 1024
    return [
        ["answered", f"{load.answered} of {requests}", "all"],
        ["memory of each, KiB", f"{each:.1f}", "<= 20"],
    ]


async def death(requests: int) -> list[list[str]]:
    async with holding_server("127.0.0.2:0") as doomed, holding_server("127.0.0.3:0") as other:
        with door_to(doomed, other, requests=requests) as door:
            load = Load(door)
            async with trio.open_nursery() as nursery:
                for number in range(requests):
                    nursery.start_soon(load.ask, number)
                at_doomed, at_other = await all_held([doomed, other], requests)
                died_at = monotonic()
                await doomed.order("blackhole")
                with trio.move_on_after(ANSWERED_WITHIN / 2):
                    while await other.order("count") < requests:  # noqa: ASYNC110
                        await trio.sleep(0.05)
                resent = sorted(at - died_at for at in await other.order("arrivals"))
                await other.order("answer")
                nursery.cancel_scope.deadline = trio.current_time() + ANSWERED_WITHIN
    resent = [at for at in resent if at > 0]
    return [
        ["held by the server that dies", str(at_doomed), ""],
        ["held by the other one", str(at_other), ""],
        ["resent to the other one", str(len(resent)), "all"],
        ["first, median, last resend, s", figures(resent), f"<= {WINDOW:g}"],
        ["answered", f"{load.answered} of {requests}", "all"],
    ]


def figures(times: Sequence[float]) -> str:
    if not times:
        return "none"
    return f"{times[0]:.2f}, {median(times):.2f}, {times[-1]:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
    head = ["figure", "measured", "must reach"]
    print_table(f"{args.requests} outstanding, one server", head, trio.run(memory, args.requests))
    title = f"{args.requests} outstanding, one of two servers is blackholed"
    print_table(title, head, trio.run(death, args.requests))


if __name__ == "__main__":
    main()
