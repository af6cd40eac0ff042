"""How long the command takes to start, as a ratio to a bare interpreter in the same run.

    python -m tests.bench.startup [--rounds 15]

Rounds are interleaved, medians printed. Elapsed time is what a user waits, and swings with whatever
else the machine does; CPU time (user and system, of the child alone) is the figure to compare between
runs. `request` asks a loopback server: by its address, by a name of the hosts file (localhost), over
TLS, and by a name that a DNS server answers, for which the process runs in a mount namespace with a
resolv.conf of ours; that row needs root, and its `unshare` and `sh` are taken off (the row above it).

Compiled files are written before the first round, as an installation has them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import msgspec
import trio

from haclient.ops.status_report import OrderReport
from tests.bench.tables import median, print_table
from tests.support.admin_server import admin_server, reply
from tests.support.command import COMMAND, environment
from tests.support.dns_server import Behaviour
from tests.support.name_service import (
    in_mount_namespace,
    resolv_conf,
    serve_names,
    why_no_mount_namespace,
)
from tests.support.reports import REPORT
from tests.support.stage import Stage, open_stage

BARE = "python -I -c pass"
CONFIG = """
[target.orders]
urls = ["http://orders.internal:8080"]
[listener.orders]
bind = "127.0.0.1:8080"
target = "orders"
"""

UNSHARED = "unshare --mount sh -c true"


def cost(words: Sequence[str | Path]) -> tuple[float, float]:
    """Runs it to its end; returns elapsed and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environment(NO_COLOR="1"))
    elapsed = perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(stage: Stage, folder: Path) -> dict[str, list[str | Path]]:
    """What is measured, by name."""
    places = stage.places
    request: list[str | Path] = [COMMAND, "request", "-s"]
    config = folder / "haclient.toml"
    config.write_text(f'{CONFIG}[admin]\nbind = "unix:{folder}/admin.sock"\n')
    by_name: dict[str, list[str | Path]] = {
        BARE: [sys.executable, "-I", "-c", "pass"],
        "haclient --version": [COMMAND, "--version"],
        "haclient --help": [COMMAND, "--help"],
        "haclient request --help": [COMMAND, "request", "--help"],
        "haclient check": [COMMAND, "check", "-c", config],
        "haclient status": [COMMAND, "status", "-c", config],
        "haclient ready": [COMMAND, "ready", "-c", config],
        "request, by address": [*request, f"{places['URL']}/"],
        "request, by name (hosts file)": [*request, f"http://localhost:{places['PORT']}/"],
        "request, over TLS": [*request, "--cacert", places["CA"], f"{places['TLS']}/"],
        "request, redirected, cookies, -w": [
            *request,
            *("-L", "-b", "", "-w", "%{http_code}", f"{places['URL']}/redirect/302"),
        ],
        "curl, by address": ["curl", "-q", "-s", f"{places['URL']}/"],
    }
    if not why_no_mount_namespace():
        conf = resolv_conf(folder)
        url = f"http://orders.test:{places['PORT']}/"
        by_name |= {
            UNSHARED: [*in_mount_namespace(conf, ["true"])],
            "request, by name (DNS)": [*in_mount_namespace(conf, [*request, url])],
        }
    return by_name


async def measure(rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Every command's costs, round after round."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = stack.enter_context(open_stage(folder))
        daemon = stack.enter_context(admin_server(f"unix:{folder}/admin.sock"))
        daemon.answers["/status"] = reply(200, msgspec.json.encode(REPORT))
        daemon.answers["/readyz"] = reply(200, msgspec.json.encode(OrderReport(is_done=True)))
        rows = commands(stage, folder)
        costs: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
        if why_no_mount_namespace():
            for number in range(rounds + 1):
                one_round(rows, costs, is_first=number == 0)
            return costs
        async with serve_names() as server:
            server.script("orders.test.", Behaviour(addresses=("127.0.0.1",)))
            for number in range(rounds + 1):
                await trio.to_thread.run_sync(one_round, rows, costs, number == 0)
    return costs


def one_round(
    rows: dict[str, list[str | Path]],
    costs: dict[str, list[tuple[float, float]]],
    is_first: bool,
) -> None:
    """The first one fills the caches and does not count."""
    for name, words in rows.items():
        spent = cost(words)
        if not is_first:
            costs[name].append(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    costs = trio.run(measure, rounds)
    elapsed = {name: median([one for one, _ in values]) for name, values in costs.items()}
    spent = {name: median([one for _, one in values]) for name, values in costs.items()}
    through = "request, by name (DNS)"
    if through in costs:
        for figures in (elapsed, spent):
            figures[through] -= figures[UNSHARED]
    print_table(
        f"Start-up, median of {rounds} interleaved rounds",
        ["command", "ms", "x bare", "CPU ms", "x bare"],
        [
            [
                name,
                f"{elapsed[name] * 1000:.0f}",
                f"{elapsed[name] / elapsed[BARE]:.1f}",
                f"{spent[name] * 1000:.0f}",
                f"{spent[name] / spent[BARE]:.1f}",
            ]
            for name in costs
        ],
    )


if __name__ == "__main__":
    main()
