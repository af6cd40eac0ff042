"""nginx, as its operators would write it down for requests that must be answered fast.

All configurations: a dead connect is noticed after a second, an idempotent request that failed goes
to the next server (proxy_next_upstream without non_idempotent), connections are kept. Health checks
are not in the free edition; a server that failed is left alone for 10 s (fail_timeout's default).
The second server is `backup`, which nginx asks as soon as the first has failed a request. Times of
keep-alive are the kernel's (proxy_socket_keepalive only turns it on), a user timeout cannot be set.

It runs as one process (master_process off), so that it can be ended by its pid.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.bench.peers.kernel import KEEP_ALIVE, KERNEL
from tests.bench.peers.proxy import DOOR, PATIENT, SERVERS, WINDOW, Proxy

__all__ = ["proxies"]

CONFIGURATION = """
user root;
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream orders {{
        server {a};
        server {b} backup;
        keepalive 32;
    }}
    server {{
        listen {door};
        client_max_body_size 0;
        location / {{
            proxy_pass http://orders;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout 1s;
            proxy_send_timeout {server_timeout}s;
            proxy_read_timeout {server_timeout}s;
            proxy_next_upstream error timeout invalid_header http_502 http_503 http_504;
            proxy_next_upstream_tries 3;
            proxy_socket_keepalive {keep_alive};
        }}
    }}
}}
"""


def proxies() -> list[Proxy]:
    """None where it is not installed."""
    if shutil.which("nginx") is None:
        return []
    return [
        nginx("patient"),
        nginx("fast", server_timeout=WINDOW),
        nginx("kernel", keep_alive="on", sysctls=(*KERNEL, *KEEP_ALIVE)),
    ]


def nginx(
    variant: str,
    *,
    server_timeout: int = PATIENT,
    keep_alive: str = "off",
    sysctls: tuple[str, ...] = (),
) -> Proxy:
    """One of them."""

    def command(folder: Path) -> list[str]:
        file = folder / "nginx.conf"
        text = CONFIGURATION.format(
            folder=folder,
            door="{}:{}".format(*DOOR),
            a=SERVERS[0],
            b=SERVERS[1],
            server_timeout=server_timeout,
            keep_alive=keep_alive,
        )
        file.write_text(text)
        return ["nginx", "-p", str(folder), "-c", str(file), "-e", str(folder / "log")]

    return Proxy("nginx", variant, command, sysctls)
