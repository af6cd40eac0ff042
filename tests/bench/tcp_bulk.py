"""Bulk bytes in TCP mode, each way, through haclient and through HAProxy, one process and one core each.

    python -m tests.bench.tcp_bulk [--mebibytes 1024] [--rounds 7]

The rounds are interleaved, so that what else runs on the machine troubles all alike; figures are medians. Server
and client are cheap on purpose (sendfile from memory; received bytes are thrown away by the kernel, MSG_TRUNC), so
that the proxy is what is slow. HAProxy runs with one thread: as it comes, with `option splice-auto`, and with
splicing always on and pipes of a mebibyte, as haclient's are. The ratio is to the quickest of the three.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.tables import median, print_table
from tests.support.bulk_server import give, memory_file, take
from tests.support.daemon import connected, daemon, eventually
from tests.support.process_figures import cpu_seconds
from tests.support.sidecar import free_port

ORDER_BYTES = 9
"""What a client says first: a letter for the direction, and how many bytes."""

RATIO_ALLOWED = 0.9

HAPROXY = """
global
    nbthread 1
    {tuning}
defaults
    mode tcp
    {options}
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen db
    bind 127.0.0.1:{port}
    server s {server}
"""

FILE = """
[target.db]
urls = ["tcp://{server}"]
[listener.db]
mode = "tcp"
bind = "127.0.0.1:{port}"
target = "db"
"""


HAPROXIES = {
    "HAProxy": (),
    "HAProxy, splice-auto": ("option splice-auto",),
    "HAProxy, always splicing": (
        "option splice-request\n    option splice-response",
        "tune.pipesize 1048576",
    ),
}


def serve(listener: socket.socket) -> None:
    """Gives or takes what the first bytes of each connection ask for, and says that it was whole."""
    source = memory_file()
    while True:
        sock, _ = listener.accept()
        with sock:
            order = sock.recv(ORDER_BYTES, socket.MSG_WAITALL)
            size = int.from_bytes(order[1:])
            if order[:1] == b"d":
                give(sock, size, source)
            elif order[:1] == b"u":
                take(sock, size)
                sock.sendall(b"k")


@contextlib.contextmanager
def server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.Process(target=serve, args=(listener,), daemon=True)
        process.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.kill()
            process.join()


@dataclass
class Proxy:
    """One that is measured: seconds and processor seconds of each round, by direction."""

    name: str
    address: str
    pid: int
    took: dict[str, list[float]] = field(default_factory=lambda: {"u": [], "d": []})
    spent: dict[str, list[float]] = field(default_factory=lambda: {"u": [], "d": []})

    def run(self, direction: str, size: int, source: int) -> None:
        cpu, began_at = cpu_seconds(self.pid), time.perf_counter()
        with connected(self.address) as sock:
            sock.settimeout(None)
            sock.sendall(direction.encode() + size.to_bytes(8))
            if direction == "d":
                take(sock, size)
            else:
                give(sock, size, source)
                assert sock.recv(1) == b"k"
        self.took[direction].append(time.perf_counter() - began_at)
        self.spent[direction].append(cpu_seconds(self.pid) - cpu)

    def row(self, size: int, best: dict[str, float]) -> list[str]:
        cells = [self.name]
        for direction in ("u", "d"):
            took = median(self.took[direction])
            share = best[direction] / took
            cpu = median(self.spent[direction]) / size * (1 << 30)
            cells += [f"{size / took / 1e9:.2f}", f"{share:.2f}", f"{cpu:.2f}"]
        return cells

    def is_as_fast_as(self, best: dict[str, float]) -> bool:
        return all(best[way] / median(self.took[way]) >= RATIO_ALLOWED for way in best)


@contextlib.contextmanager
def haproxy(
    name: str, upstream: str, folder: Path, options: str = "", tuning: str = ""
) -> Iterator[Proxy]:
    command = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    assert command is not None, "haproxy is not installed"
    port = free_port()
    path = folder / f"haproxy{port}.cfg"
    path.write_text(HAPROXY.format(port=port, server=upstream, options=options, tuning=tuning))
    with subprocess.Popen([command, "-db", "-f", str(path)]) as process:
        try:
            address = f"127.0.0.1:{port}"
            eventually(lambda: _answers(address))
            yield Proxy(name, address, process.pid)
        finally:
            process.kill()


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), connected(address):
        return True
    return False


def turned(proxies: list[Proxy], number: int) -> list[Proxy]:
    """Another one begins each round."""
    at = number % len(proxies)
    return proxies[at:] + proxies[:at]


def measure(mebibytes: int, rounds: int) -> bool:
    size = mebibytes << 20
    source = memory_file()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(server())
        port = free_port()
        file = FILE.format(server=upstream, port=port)
        ours = stack.enter_context(daemon(folder, file))
        proxies = [
            Proxy("haclient", f"127.0.0.1:{port}", ours.pid),
            *(
                stack.enter_context(haproxy(name, upstream, folder, *settings))
                for name, settings in HAPROXIES.items()
            ),
        ]
        for each in proxies:
            each.run("d", 1 << 20, source)
        for each in proxies:
            each.took, each.spent = {"u": [], "d": []}, {"u": [], "d": []}
        for number in range(rounds):
            for direction in ("u", "d"):
                for each in turned(proxies, number):
                    each.run(direction, size, source)
    best = {way: min(median(each.took[way]) for each in proxies[1:]) for way in ("u", "d")}
    head = ["proxy", "up, GB/s", "ratio", "CPU s/GiB", "down, GB/s", "ratio", "CPU s/GiB"]
    print_table(
        f"{mebibytes} MiB each way, medians of {rounds} rounds; ratio: to the quickest HAProxy",
        head,
        [each.row(size, best) for each in proxies],
    )
    return proxies[0].is_as_fast_as(best)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    return 0 if measure(options.mebibytes, options.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
