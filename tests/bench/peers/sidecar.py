"""haclient itself, with its defaults; and a plain relay, to see what a program has without either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.peers.proxy import DOOR, SERVERS, Proxy
from tests.support.netns import ROOT

__all__ = ["proxies"]

CONFIGURATION = """
[target.orders]
urls = ["http://{a}", "http://{b}"]
order = "listed"

[listener.orders]
bind = "{door}"
target = "orders"

[admin]
bind = "unix:{folder}/admin.sock"

[log]
access = false
"""

COMMAND = [sys.executable, "-m", "haclient"]
"""Of the tree that the bench is in, whichever is installed."""


def proxies() -> list[Proxy]:
    """The sidecar, where there is one already, and the relay."""
    relay = Proxy("relay", "", lambda _: [sys.executable, "-m", "tests.bench.peers.relay"])
    return [Proxy("haclient", "", command), relay] if can_serve() else [relay]


def can_serve() -> bool:
    """Whether the command has its daemon."""
    told = subprocess.run(
        [*COMMAND, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return "\n  serve " in told.stdout


def command(folder: Path) -> list[str]:
    """Writes its file."""
    file = folder / "haclient.toml"
    text = CONFIGURATION.format(
        door="{}:{}".format(*DOOR), a=SERVERS[0], b=SERVERS[1], folder=folder
    )
    file.write_text(text)
    return [*COMMAND, "serve", "-c", str(file)]
