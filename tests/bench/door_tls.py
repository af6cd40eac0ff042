"""What TLS at a door costs: connections, requests and bulk bytes, beside a plain door of the same daemon.

    python -m tests.bench.door_tls [--connections 200] [--requests 500] [--mebibytes 256] [--rounds 5]

One daemon, one server, three doors: plain, TLS 1.3, and TLS 1.3 with a client certificate (P-256 keys). In each round,
doors in turn: new connections one after the other, each with a handshake in full and one small GET; GETs on a
connection that stays open; and bulk bytes down and up. Figures are medians of the rounds, CPU is the daemon's own.
The server is cheap on purpose (sendfile, MSG_TRUNC); client and server share what the daemon leaves of the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.bench.tables import median, print_table
from tests.support.bulk_server import bulk_server, memory_file
from tests.support.certificates import write_ca, write_client_certificate, write_private
from tests.support.process_figures import cpu_seconds
from tests.support.sidecar import free_port, sidecar

PATIENCE = 60.0
PIECE_BYTES = 1 << 20


FIGURES = ("connect", "connect CPU", "request", "request CPU", "down", "down CPU", "up", "up CPU")


@dataclass
class Door:
    """One that is measured: what each round found, by figure; seconds."""

    name: str
    port: int
    pid: int
    context: ssl.SSLContext | None = None
    found: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    slowest: list[float] = field(default_factory=list)

    def connection(self) -> http.client.HTTPConnection:
        """A client's, that has not connected."""
        here = "127.0.0.1"
        if self.context is None:
            return http.client.HTTPConnection(here, self.port, PATIENCE, blocksize=PIECE_BYTES)
        return http.client.HTTPSConnection(
            here, self.port, timeout=PATIENCE, context=self.context, blocksize=PIECE_BYTES
        )

    def connect(self, count: int) -> None:
        """New ones, one after another."""
        times: list[float] = []
        self._measure("connect", count, lambda: times.extend(self._connect() for _ in range(count)))
        self.slowest.append(sorted(times)[int(0.99 * count)])

    def _connect(self) -> float:
        began_at = time.perf_counter()
        with contextlib.closing(self.connection()) as one:
            ask(one, "GET", "/2")
        return time.perf_counter() - began_at

    def request(self, count: int) -> None:
        """On one connection."""
        with contextlib.closing(self.connection()) as one:
            ask(one, "GET", "/2")
            self._measure("request", count, lambda: ask_often(one, count))

    def move(self, mebibytes: int, source: int) -> None:
        """Bulk bytes, both ways; for each byte."""
        size = mebibytes << 20
        with contextlib.closing(self.connection()) as one:
            ask(one, "GET", "/2")
            self._measure("down", size, lambda: ask(one, "GET", f"/{size}"))
            self._measure("up", size, lambda: ask(one, "PUT", "/2", Bulk(source, size)))

    def _measure(self, name: str, count: int, what: Callable[[], object]) -> None:
        cpu, began_at = cpu_seconds(self.pid), time.perf_counter()
        what()
        self.found[name].append((time.perf_counter() - began_at) / count)
        self.found[f"{name} CPU"].append((cpu_seconds(self.pid) - cpu) / count)

    def cells(self) -> list[str]:
        figure = {name: median(values) for name, values in self.found.items()}
        each = [
            f"{figure['connect'] * 1e3:.2f}",
            f"{median(self.slowest) * 1e3:.2f}",
            f"{1 / figure['connect']:.0f}",
            f"{figure['connect CPU'] * 1e3:.2f}",
            f"{figure['request'] * 1e6:.0f}",
            f"{figure['request CPU'] * 1e6:.0f}",
        ]
        for way in ("down", "up"):
            each += [f"{1e-9 / figure[way]:.2f}", f"{figure[f'{way} CPU'] * (1 << 30):.2f}"]
        return [self.name, *each]


class Bulk:
    """Content of so many bytes, as http.client reads a file."""

    def __init__(self, source: int, size: int) -> None:
        self.size = size
        self._left = size
        self._piece = os.pread(source, PIECE_BYTES, 0)

    def read(self, most: int = PIECE_BYTES, /) -> bytes:
        piece = self._piece[: min(most, self._left)]
        self._left -= len(piece)
        return piece


def ask(
    one: http.client.HTTPConnection, method: str, path: str, content: Bulk | None = None
) -> None:
    """A request whose answer is thrown away; it has to be whole."""
    if content is None:
        one.request(method, path)
    else:
        one.request(method, path, content, {"Content-Length": str(content.size)})
    answer = one.getresponse()
    assert answer.status == 200, answer.status
    expected, got, buffer = int(path[1:]), 0, bytearray(PIECE_BYTES)
    while more := answer.readinto(buffer):
        got += more
    assert got == expected, (got, expected)


def ask_often(one: http.client.HTTPConnection, count: int) -> None:
    for _ in range(count):
        ask(one, "GET", "/2")


@contextlib.contextmanager
def doors(folder: Path, url: str) -> Iterator[list[Door]]:
    """All three, and clients that trust them."""
    ca = trustme.CA()
    pem = folder / "door.pem"
    write_private(ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem, pem)
    trusted = write_ca(ca, folder / "ca.pem")
    tls, mutual = ({"cert_file": str(pem)} for _ in range(2))
    mutual["client_ca_file"] = trusted
    contexts = [ssl.create_default_context(cafile=trusted) for _ in range(2)]
    contexts[1].load_cert_chain(*write_client_certificate(ca, folder))
    ports = [free_port() for _ in contexts]
    others = {
        f"listener.tls{port}": {"bind": f"127.0.0.1:{port}", "target": "main", "tls": keys}
        for port, keys in zip(ports, (tls, mutual), strict=True)
    }
    with sidecar(url, others=others) as daemon:
        yield [
            Door("plain", daemon.port, daemon.pid),
            Door("TLS", ports[0], daemon.pid, contexts[0]),
            Door("TLS, client certificate", ports[1], daemon.pid, contexts[1]),
        ]


def measure(connections: int, requests: int, mebibytes: int, rounds: int) -> None:
    source = memory_file()
    with (
        tempfile.TemporaryDirectory(prefix="ha-") as name,
        bulk_server() as url,
        doors(Path(name), url) as found,
    ):
        for door in found:
            door.connect(1)  # modules, and whatever else is of the first time
            door.found["connect"].clear()
            door.found["connect CPU"].clear()
            door.slowest.clear()
        for turn in range(rounds):
            for door in found if turn % 2 == 0 else reversed(found):
                door.connect(connections)
                door.request(requests)
                door.move(mebibytes, source)
    print_table(
        f"{connections} new connections, {requests} GETs and {mebibytes} MiB each way, medians of {rounds} rounds",
        [
            "door",
            "new connection and GET, ms",
            "p99, ms",
            "a second",
            "CPU ms",
            "further GET, us",
            "CPU us",
            "down, GB/s",
            "CPU s/GiB",
            "up, GB/s",
            "CPU s/GiB",
        ],
        [door.cells() for door in found],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    measure(options.connections, options.requests, options.mebibytes, options.rounds)


if __name__ == "__main__":
    main()
