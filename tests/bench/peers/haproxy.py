"""HAProxy, as its operators would write it down for requests that must be answered fast.

All configurations: a dead connect is noticed after a second, a request that failed goes to the
other server (`option redispatch 1`), if it is idempotent (`disable-l7-retry` for the others); idle
connections are shared; each server's port is checked every second. `balance first` takes the first
server while it is up. What does not fit into tune.bufsize (16 KiB) is not sent again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.bench.peers.kernel import KERNEL
from tests.bench.peers.proxy import DOOR, PATIENT, SERVERS, WINDOW, Proxy

__all__ = ["proxies"]

CONFIGURATION = """
global
    maxconn 2000
defaults
    mode http
    timeout connect 1s
    timeout client {client_timeout}s
    timeout server {server_timeout}s
    timeout check 1s
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response junk-response response-timeout 0rtt-rejected 502 503 504
    http-reuse always
    {keep_alive}
listen orders
    bind {door}
    http-request disable-l7-retry unless {{ method GET HEAD OPTIONS PUT DELETE }}
    balance first
    default-server check inter 1s fall 2 rise 2
    server a {a} {server_options}
    server b {b} {server_options}
"""

KEEP_ALIVE = """option srvtcpka
    srvtcpka-idle 1s
    srvtcpka-intvl 1s
    srvtcpka-cnt 3"""

CLOSES = "on-marked-down shutdown-sessions"


def proxies() -> list[Proxy]:
    """None where it is not installed."""
    if shutil.which("haproxy") is None:
        return []
    return [
        haproxy("patient"),
        haproxy("fast", server_timeout=WINDOW),
        haproxy("ut", keep_alive=KEEP_ALIVE, server_options=f"tcp-ut {WINDOW}s"),
        haproxy("kernel", keep_alive=KEEP_ALIVE, sysctls=KERNEL),
        haproxy("checked", server_options=CLOSES),
    ]


def haproxy(
    variant: str,
    *,
    server_timeout: int = PATIENT,
    keep_alive: str = "",
    server_options: str = "",
    sysctls: tuple[str, ...] = (),
) -> Proxy:
    """One of them."""
    text = CONFIGURATION.format(
        door="{}:{}".format(*DOOR),
        a=SERVERS[0],
        b=SERVERS[1],
        client_timeout=2 * PATIENT,
        server_timeout=server_timeout,
        keep_alive=keep_alive,
        server_options=server_options,
    )

    def command(folder: Path) -> list[str]:
        file = folder / "haproxy.cfg"
        file.write_text(text)
        return ["haproxy", "-db", "-q", "-f", str(file)]

    return Proxy("HAProxy", variant, command, sysctls)
