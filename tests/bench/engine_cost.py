"""What the engine costs on a small GET over a persistent connection, beside its peers.

    python -m tests.bench.engine_cost [--rounds 7] [--requests 1000]

One process, rounds interleaved, medians. CPU is this process's own (the server runs in another).
Peers: trio and h11 by hand, with nothing of what makes a client (no pool, no watch, no errors);
httpx on trio.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import perf_counter, process_time

import h11
import httpx
import trio

import haclient
from tests.bench.tables import median, print_table

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
    b"Server: bench\r\nContent-Length: 27\r\n\r\n" + b'{"id": 7, "state": "paid"}\n'
)


def serve(listener: socket.socket) -> None:
    """Answers every head with the same bytes, one thread, one connection after another's turn."""
    import selectors

    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                continue
            assert isinstance(key.fileobj, socket.socket)
            data = b""
            with contextlib.suppress(OSError):
                data = key.fileobj.recv(65536)
            if data:
                key.fileobj.sendall(ANSWER)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


async def by_hand(stream: trio.SocketStream, wire: h11.Connection, host: str) -> int:
    """The least that speaks HTTP/1.1 through h11."""
    request = h11.Request(
        method="GET",
        target="/v1/orders/7",
        headers=[("Host", host), ("User-Agent", "by-hand"), ("Accept", "*/*")],
    )
    data = wire.send(request) or b""
    data += wire.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)
    content = b""
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await stream.receive_some(65536))
        elif isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            wire.start_next_cycle()
            return len(content)


async def measure(call: Callable[[], Awaitable[object]], requests: int) -> tuple[float, float]:
    for _ in range(20):
        await call()
    cpu, wall = process_time(), perf_counter()
    for _ in range(requests):
        await call()
    return (process_time() - cpu) / requests * 1e6, (perf_counter() - wall) / requests * 1e6


async def run(port: int, rounds: int, requests: int) -> None:
    url = f"http://127.0.0.1:{port}/v1/orders/7"
    async with AsyncExitStack() as stack:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        stack.push_async_callback(stream.aclose)
        wire = h11.Connection(h11.CLIENT)
        ours = await stack.enter_async_context(haclient.Client())
        theirs = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "trio + h11 by hand": lambda: by_hand(stream, wire, f"127.0.0.1:{port}"),
            "haclient": lambda: ours.get(url),
            "httpx (trio)": lambda: theirs.get(url),
        }
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        for turn in range(rounds):
            names = list(calls) if turn % 2 == 0 else list(reversed(calls))
            for name in names:
                figures[name].append(await measure(calls[name], requests))
    base = median([cpu for cpu, _ in figures["trio + h11 by hand"]])
    print_table(
        f"Small GET, one persistent connection, median of {rounds} rounds of {requests}",
        ["client", "CPU us", "wall us", "CPU x by hand"],
        [
            [
                name,
                f"{median([c for c, _ in values]):.0f}",
                f"{median([w for _, w in values]):.0f}",
                f"{median([c for c, _ in values]) / base:.2f}",
            ]
            for name, values in figures.items()
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=1000)
    args = parser.parse_args()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = multiprocessing.Process(target=serve, args=(listener,), daemon=True)
        server.start()
        try:
            trio.run(run, listener.getsockname()[1], args.rounds, args.requests)
        finally:
            server.kill()
            server.join()


if __name__ == "__main__":
    main()
