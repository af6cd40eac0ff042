"""How long the command takes to start, as a ratio to a bare interpreter in the same run.

    python -m tests.bench.startup [--rounds 15]

Rounds are interleaved, medians printed; `request` asks a loopback server by a name of the hosts
file (localhost), and by a name that a loopback name server answers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import perf_counter

from tests.bench.tables import median, print_table

COMMAND = Path(sys.executable).with_name("haclient")


class Quick(BaseHTTPRequestHandler):
    """Answers at once."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        """Nothing."""


def seconds(command: list[str]) -> float:
    started = perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"NO_COLOR": "1"}
    )
    return perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    server = ThreadingHTTPServer(("127.0.0.1", 0), Quick)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    commands = {
        "python -I -c pass": [sys.executable, "-I", "-c", "pass"],
        "haclient --help": [str(COMMAND), "--help"],
        "haclient --version": [str(COMMAND), "--version"],
        "haclient request, by address": [
            str(COMMAND),
            "request",
            "-s",
            f"http://127.0.0.1:{port}/",
        ],
        "haclient request, by name": [str(COMMAND), "request", "-s", f"http://localhost:{port}/"],
        "curl": ["curl", "-s", f"http://localhost:{port}/"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds(command))
    bare = median(times["python -I -c pass"])
    print_table(
        f"Start-up, median of {rounds} interleaved rounds",
        ["command", "ms", "x bare interpreter"],
        [
            [name, f"{median(values) * 1000:.0f}", f"{median(values) / bare:.1f}"]
            for name, values in times.items()
        ],
    )
    server.shutdown()


if __name__ == "__main__":
    main()
