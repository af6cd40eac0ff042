"""What the sidecar costs on a small GET, beside an aiohttp reverse proxy, and HAProxy for scale.

    python -m tests.bench.sidecar_cost [--rounds 7] [--seconds 3]

64 persistent connections, 8 header fields, another query each time, saturated. The subject has one
core to itself; nginx (one worker) behind it and wrk before it share the other. Rounds are interleaved,
every other one backwards; figures are medians. CPU is the subject's own, user and system (/proc/PID/stat),
divided by the requests that wrk counted. Needs wrk and nginx; HAProxy where it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import trio

from tests.bench.tables import median, print_table
from tests.support.process_figures import cpu_seconds
from tests.support.sidecar import free_port, sidecar

CORES = sorted(os.sched_getaffinity(0))
SUBJECT, OTHERS = CORES[0], CORES[-1]
CONNECTIONS = 64
LOGGED = {"level": "info", "access": True}
"""As by default: a line a request, here to a file. Peers write none, so the row to compare is the other."""

ROOT = Path(__file__).parents[2]

NGINX = Template("""\
daemon off; master_process off; worker_processes 1; pid $folder/pid; error_log $folder/error;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path $folder/1; proxy_temp_path $folder/2; fastcgi_temp_path $folder/3;
  uwsgi_temp_path $folder/4; scgi_temp_path $folder/5;
  server {
    listen 127.0.0.1:$port backlog=1024;
    location / { default_type application/json; return 200 '{"id": 7, "state": "paid"}'; }
  }
}
""")

HAPROXY = Template("""\
global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend front
  bind 127.0.0.1:$port
  default_backend back
backend back
  server one 127.0.0.1:$upstream
""")

# Accept, User-Agent and so on: with Host, eight fields.
WRK = """\
wrk.headers["User-Agent"] = "bench/1.0"
wrk.headers["Accept"] = "application/json"
wrk.headers["Accept-Language"] = "en"
wrk.headers["Authorization"] = "Bearer 0123456789abcdef0123456789abcdef"
wrk.headers["X-Request-Id"] = "5f2b9c1e-7a63-4f0e-9d3c-2b8d1a4e6f70"
wrk.headers["X-Tenant"] = "blue"
wrk.headers["Cache-Control"] = "no-cache"
local count = 0
request = function()
  count = count + 1
  return wrk.format("GET", "/v1/orders/7?n=" .. count)
end
"""


@dataclass
class Subject:
    """A proxy that runs, and what was measured of it."""

    name: str
    pid: int
    port: int
    cpu_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)


@contextlib.contextmanager
def running(command: list[str], port: int, core: int) -> Iterator[int]:
    """A process that is ended with the block; its pid, once it listens."""
    with subprocess.Popen(
        command, cwd=ROOT, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    ) as one:
        try:
            trio.run(connected, port)
            yield one.pid
        finally:
            one.terminate()


async def connected(port: int) -> None:
    """Waits until somebody listens."""
    with trio.fail_after(10):
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            await trio.sleep(0.05)


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[int]:
    """The upstream; its port."""
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.substitute(folder=folder, port=port))
    command = [
        "nginx",
        "-p",
        str(folder),
        "-e",
        str(folder / "error"),
        "-c",
        str(folder / "nginx.conf"),
    ]
    with running(command, port, OTHERS):
        yield port


@contextlib.contextmanager
def subjects(folder: Path, upstream: int) -> Iterator[list[Subject]]:
    """All that are compared, side by side: who is not asked does nothing."""
    with contextlib.ExitStack() as stack:
        found: list[Subject] = []
        for name, log in (("haclient", {}), ("haclient, access log", LOGGED)):
            one = sidecar(f"http://127.0.0.1:{upstream}", log=log, core=SUBJECT, expected=[""])
            door = stack.enter_context(one)
            found.append(Subject(name, door.pid, door.port))
        port = free_port()
        peer = [sys.executable, "-m", "tests.bench.aiohttp_proxy"]
        peer += [f"127.0.0.1:{port}", f"http://127.0.0.1:{upstream}"]
        pid = stack.enter_context(running(peer, port, SUBJECT))
        found.append(Subject("aiohttp", pid, port))
        if shutil.which("haproxy"):
            port = free_port()
            (folder / "haproxy.cfg").write_text(HAPROXY.substitute(port=port, upstream=upstream))
            command = ["haproxy", "-q", "-db", "-f", str(folder / "haproxy.cfg")]
            pid = stack.enter_context(running(command, port, SUBJECT))
            found.append(Subject("HAProxy", pid, port))
        yield found


def load(subject: Subject, script: Path, seconds: float) -> None:
    """One round; its figures go to the subject."""
    before = cpu_seconds(subject.pid)
    url = f"http://127.0.0.1:{subject.port}"
    how = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(script)]
    ran = subprocess.run(
        ["taskset", "-c", str(OTHERS), "wrk", *how, url], capture_output=True, text=True, check=True
    )
    assert "Non-2xx" not in ran.stdout, ran.stdout
    assert "Socket errors" not in ran.stdout, ran.stdout
    counted = re.search(r"([0-9]+) requests in", ran.stdout)
    assert counted is not None, ran.stdout
    requests = int(counted[1])
    subject.cpu_us.append((cpu_seconds(subject.pid) - before) / requests * 1e6)
    subject.rate.append(requests / seconds)


def run(rounds: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="ha-") as name:
        folder = Path(name)
        (folder / "load.lua").write_text(WRK)
        with nginx(folder) as upstream, subjects(folder, upstream) as found:
            for subject in found:
                load(subject, folder / "load.lua", 1)
                subject.cpu_us.clear()
                subject.rate.clear()
            for turn in range(rounds):
                for subject in found if turn % 2 == 0 else reversed(found):
                    load(subject, folder / "load.lua", seconds)
    peer = next(median(one.cpu_us) for one in found if one.name == "aiohttp")
    print_table(
        f"Small GET, {CONNECTIONS} connections, 8 fields, median of {rounds} rounds of {seconds:g} s",
        ["proxy", "CPU us a request", "lowest", "highest", "x aiohttp", "requests a second"],
        [
            [
                one.name,
                f"{median(one.cpu_us):.0f}",
                f"{min(one.cpu_us):.0f}",
                f"{max(one.cpu_us):.0f}",
                f"{median(one.cpu_us) / peer:.2f}",
                f"{median(one.rate):.0f}",
            ]
            for one in found
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    if missing := [name for name in ("wrk", "nginx", "taskset") if not shutil.which(name)]:
        raise SystemExit(f"sidecar_cost: {', '.join(missing)} not installed")
    run(args.rounds, args.seconds)


if __name__ == "__main__":
    main()
