"""2,000 idle tunnels, in TCP mode or of CONNECT: memory for each, and packets.

    python -m tests.bench.tcp_idle [--tunnels 2000] [--seconds 3] [--through connect]

Each tunnel carries a question and an answer, and then nothing. Memory is what the daemon's PSS (smaps_rollup)
has grown by since it had served a first one, divided by their number: both sockets' objects in it. Packets are
the TCP segments that left in a network namespace where there is nothing else (/proc/net/snmp, OutSegs);
needs root for that. At the end every tunnel is asked once more.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.tables import print_table
from tests.support.daemon import daemon
from tests.support.process_figures import cpu_seconds, pss_bytes

DESCRIPTORS = 20_000
DOOR = ("127.0.0.1", 5432)
KIB_ALLOWED = 12.0
AT_ONCE = 50
"""Connects before the answers are read: fewer than a listener's queue holds."""

CONNECT = b"CONNECT 127.0.0.2:5432 HTTP/1.1\r\nHost: 127.0.0.2:5432\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

FORWARD = """
[defaults]
max_connections = 10000

[listener.proxy]
mode = "forward"
bind = "127.0.0.1:5432"
allow = ["127.0.0.2:5432"]
max_connections = 10000

[log]
access = false
"""

TCP = """
[target.db]
urls = ["tcp://127.0.0.2:5432"]
max_connections = 10000

[listener.db]
mode = "tcp"
bind = "127.0.0.1:5432"
target = "db"
max_connections = 10000

[log]
access = false
"""


@contextlib.contextmanager
def echo_server() -> Iterator[None]:
    """Gives back what it is sent, on 127.0.0.2:5432."""
    listener = socket.create_server(("127.0.0.2", 5432), backlog=512)
    listener.setblocking(False)
    selector, is_over = selectors.DefaultSelector(), threading.Event()
    selector.register(listener, selectors.EVENT_READ)

    def serve() -> None:
        while not is_over.is_set():
            for key, _ in selector.select(0.2):
                if key.fileobj is listener:
                    accepted, _ = listener.accept()
                    selector.register(accepted, selectors.EVENT_READ)
                    continue
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(4096)
                if data:
                    key.fileobj.sendall(data)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        listener.close()


def ask(clients: list[socket.socket]) -> None:
    """A question and an answer on each."""
    for at in range(0, len(clients), AT_ONCE):
        some = clients[at : at + AT_ONCE]
        for one in some:
            one.sendall(b"ping")
        for one in some:
            assert one.recv(16) == b"ping"


def connected(count: int, *, is_connect: bool) -> list[socket.socket]:
    clients = []
    for _ in range(0, count, AT_ONCE):
        some = [socket.create_connection(DOOR, 10) for _ in range(min(AT_ONCE, count))]
        for one in some if is_connect else ():
            one.sendall(CONNECT)
            assert one.recv(100) == ESTABLISHED
        ask(some)
        clients += some
    return clients


def segments_sent() -> int:
    """TCP segments that left in this network namespace so far."""
    names, values = re.findall(r"^Tcp: (.*)$", Path("/proc/net/snmp").read_text(), re.MULTILINE)
    return int(dict(zip(names.split(), values.split(), strict=True))["OutSegs"])


def measure(tunnels: int, seconds: float, *, is_connect: bool) -> bool:
    """Prints the figures; whether they are as promised."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    with (
        tempfile.TemporaryDirectory() as folder,
        echo_server(),
        daemon(Path(folder), FORWARD if is_connect else TCP, descriptors=DESCRIPTORS) as process,
        contextlib.ExitStack() as open_ones,
    ):
        clients = connected(AT_ONCE, is_connect=is_connect)
        time.sleep(3.0)  # noqa: TID251  (another process is measured at rest)
        before = pss_bytes(process.pid)
        clients += connected(tunnels, is_connect=is_connect)
        for one in clients:
            open_ones.enter_context(one)
        time.sleep(3.0)  # noqa: TID251
        each = (pss_bytes(process.pid) - before) / tunnels / 1024
        sent, cpu = segments_sent(), cpu_seconds(process.pid)
        time.sleep(seconds)  # noqa: TID251
        packets, idle_cpu = segments_sent() - sent, cpu_seconds(process.pid) - cpu
        ask(clients)
    is_good = each <= KIB_ALLOWED and packets == 0
    print_table(
        f"{tunnels} idle tunnels{' of CONNECT' if is_connect else ''}",
        ["KiB each", "allowed", f"packets in {seconds:g} s", "CPU in that time, ms"],
        [[f"{each:.1f}", f"{KIB_ALLOWED:g}", str(packets), f"{idle_cpu * 1000:.0f}"]],
    )
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tunnels", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--through", choices=["tcp", "connect"], default="tcp")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        words = [sys.executable, "-m", "tests.bench.tcp_idle", *sys.argv[1:], "--inside"]
        os.execvp("unshare", ["unshare", "--net", *words])
    is_connect = options.through == "connect"
    return 0 if measure(options.tunnels, options.seconds, is_connect=is_connect) else 1


if __name__ == "__main__":
    sys.exit(main())
