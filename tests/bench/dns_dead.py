"""A name server that is dead for minutes, under load: how many requests fail, and how long they take.

    python -m tests.bench.dns_dead [--seconds 300] [--rate 25] [--how silent]

One daemon, one real name server (dnsmasq, answers hold for 5 s), two doors to one server: behind one, requests
ride on persistent connections; behind the other each connects anew, and needs the name. So many GET and so
many POST a second at each (httpx, open loop). `silent` is SIGSTOP, `gone` SIGKILL, `empty` a zone without
the name. Then the name server comes back, at another address of the name. Ends with 1 where a request failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import httpx
import trio

from tests.bench.tables import print_table
from tests.support.daemon import Daemon, daemon, reverse
from tests.support.dnsmasq import Dnsmasq, dnsmasq
from tests.support.origin_process import origin_process
from tests.support.sidecar import free_port
from tests.support.steady_load import SteadyLoad, quantile

BEFORE, AFTER = 10.0, 40.0
"""Seconds of load with a name server that is well: the second time until a lookup has been repeated."""

HOW = {"silent": Dnsmasq.pause, "gone": Dnsmasq.kill, "empty": Dnsmasq.forget}

HEAD = ("door", "when", "sent", "errors", "median, ms", "99 %, ms", "longest, ms")


def text(server: Dnsmasq, port: int, doors: Sequence[int]) -> str:
    """The daemon's file."""
    pooled, anew = doors
    more = f"""
[resolver]
nameservers = ["{server.nameserver}"]
[log]
access = false
[target.anew]
urls = ["http://orders.test:{port}"]
pool_idle_timeout = "0s"
[listener.anew]
bind = "127.0.0.1:{anew}"
target = "anew"
"""
    return reverse(f"http://orders.test:{port}", f"127.0.0.1:{pooled}", more=more)


def rows(name: str, load: SteadyLoad, seconds: float) -> list[Sequence[str]]:
    """One for each part of the time."""
    ends = {"before": BEFORE, "dead": BEFORE + seconds, "after": BEFORE + seconds + AFTER}
    found: list[Sequence[str]] = []
    since = 0.0
    for when, until in ends.items():
        part = [one for one in load.sent if since <= one.at < until]
        times = sorted(one.took * 1000 for one in part)
        errors = sum(one.is_error for one in part)
        figures = (quantile(times, 0.5), quantile(times, 0.99), times[-1])
        found.append((name, when, f"{len(part)}", f"{errors}", *(f"{x:.1f}" for x in figures)))
        since = until
    return found


async def said(process: Daemon) -> str:
    """What the metrics and the log have of it."""
    transport = httpx.AsyncHTTPTransport(uds=process.admin.removeprefix("unix:"))
    async with httpx.AsyncClient(transport=transport) as client:
        metrics = (await client.get("http://localhost/metrics")).text.splitlines()
    (served,) = [line for line in metrics if line.startswith("haclient_dns_stale_served_total ")]
    lines = [line for line in process.log.splitlines() if "name" in line and "test" in line]
    return "\n".join([served, *lines])


async def run(seconds: float, rate: float, how: str, folder: Path) -> int:
    """Once; gives how many requests failed."""
    doors = (free_port(), free_port())
    loads = {
        name: SteadyLoad(f"http://127.0.0.1:{port}")
        for name, port in zip(("pooled", "anew"), doors, strict=True)
    }
    with dnsmasq(folder, ttl=5) as server:
        server.name("orders.test", "127.0.0.2")
        async with (
            origin_process("127.0.0.2:0") as one,
            origin_process(f"127.0.0.3:{one.endpoint.port}") as other,
        ):
            with daemon(folder, text(server, one.endpoint.port, doors)) as process:
                async with trio.open_nursery() as nursery:
                    for load in loads.values():
                        total = BEFORE + seconds + AFTER
                        nursery.start_soon(partial(load.run, total, rate))
                    await trio.sleep(BEFORE)
                    HOW[how](server)
                    await trio.sleep(seconds)
                    server.kill()
                    server.name("orders.test", "127.0.0.3")
                    server.start()
                found = [row for name, load in loads.items() for row in rows(name, load, seconds)]
                print_table(f"Name server {how} for {seconds:g} s", HEAD, found)
                print(f"\n{await said(process)}")
                print(f"answered at the new address: {await other.executed()}")
                assert process.end() == 0
    return sum(one.is_error for load in loads.values() for one in load.sent)


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rate", type=float, default=25.0)
    parser.add_argument("--how", choices=HOW, default="silent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dns-dead-") as folder:
        errors = trio.run(run, options.seconds, options.rate, options.how, Path(folder))
    return 0 if errors == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
