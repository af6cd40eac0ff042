"""Envoy, as its operators would write it down for requests that must be answered fast.

All configurations: a dead connect is noticed after a second, an idempotent request that failed goes
to the other server (a route of its own: Envoy's retry policy does not look at the method), the one
that failed is avoided (previous_hosts, previous_priorities); each server's port is checked every
second. The second server has the next priority: it is asked when the first failed or is down. The
server time-out is per_try_idle_timeout: silence, as with the others, not the length of an answer.

Three defaults would spoil it: three retries at a time in a whole cluster (circuit_breakers), a check
a minute before the first traffic (no_traffic_interval), a second before a broken answer is closed.
Not here: pings on HTTP/2 connections, which these servers do not speak.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.bench.peers.kernel import KERNEL
from tests.bench.peers.proxy import DOOR, PATIENT, SERVERS, WINDOW, Proxy

__all__ = ["proxies"]

TYPE = "type.googleapis.com/envoy.extensions"
KEEP_ALIVE = {"keepalive_probes": 3, "keepalive_time": 1, "keepalive_interval": 1}
USER_TIMEOUT = {
    "description": "TCP_USER_TIMEOUT",
    "level": 6,
    "name": 18,
    "int_value": WINDOW * 1000,
    "state": "STATE_PREBIND",
}


def proxies(path: str = "") -> list[Proxy]:
    """None where it is not installed."""
    program = path or os.environ.get("HACLIENT_BENCH_ENVOY") or "envoy"
    if shutil.which(program) is None:
        return []
    alive = {"tcp_keepalive": KEEP_ALIVE}
    return [
        envoy(program, "patient"),
        envoy(program, "fast", server_timeout=WINDOW),
        envoy(
            program,
            "ut",
            upstream_connection_options=alive,
            upstream_bind_config={"socket_options": [USER_TIMEOUT]},
        ),
        envoy(program, "kernel", upstream_connection_options=alive, sysctls=KERNEL),
        envoy(program, "checked", close_connections_on_host_health_failure=True),
        envoy(program, "hedged", hedge_after=1),
    ]


def envoy(
    program: str,
    variant: str,
    *,
    server_timeout: int = PATIENT,
    hedge_after: int = 0,
    sysctls: tuple[str, ...] = (),
    **cluster: object,
) -> Proxy:
    """One of them; `cluster` is added to the cluster's own settings."""
    ways = routes(server_timeout, hedge_after)

    def command(folder: Path) -> list[str]:
        file = folder / "envoy.json"
        file.write_text(json.dumps(configuration(ways, cluster)))
        quiet = ["--log-level", "error", "--disable-hot-restart", "--concurrency", "1"]
        return [program, "-c", str(file), *quiet]

    return Proxy("Envoy", variant, command, sysctls)


def configuration(ways: list[dict[str, Any]], cluster: dict[str, Any]) -> dict[str, Any]:
    """The bootstrap file."""
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "orders",
        "delayed_close_timeout": "0.1s",
        "route_config": {
            "virtual_hosts": [{"name": "orders", "domains": ["*"], "routes": ways}],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"},
            },
        ],
    }
    filters = [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
    ]
    listener = {
        "name": "door",
        "address": address("{}:{}".format(*DOOR)),
        "filter_chains": [{"filters": filters}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [orders() | cluster]}}


def routes(server_timeout: int, hedge_after: int) -> list[dict[str, Any]]:
    """What is idempotent may be asked again for every reason, the rest if nothing was sent.

    Only what is safe is hedged: asked again after so many seconds, while the first try goes on.
    """
    again = "connect-failure,refused-stream"
    every_reason = route(server_timeout, f"{again},reset,gateway-error")
    hedged = route(server_timeout, f"{again},reset,gateway-error")
    if hedge_after:
        hedged["retry_policy"]["per_try_timeout"] = f"{hedge_after}s"
        hedged["hedge_policy"] = {"hedge_on_per_try_timeout": True}
    return [
        {"match": methods("GET|HEAD|OPTIONS"), "route": hedged},
        {"match": methods("PUT|DELETE"), "route": every_reason},
        {"match": {"prefix": "/"}, "route": route(server_timeout, again)},
    ]


def methods(regex: str) -> dict[str, Any]:
    """Requests with one of these methods."""
    header = {"name": ":method", "string_match": {"safe_regex": {"regex": regex}}}
    return {"prefix": "/", "headers": [header]}


def route(server_timeout: int, retry_on: str) -> dict[str, Any]:
    """One way to the cluster."""
    policy = {
        "retry_on": retry_on,
        "num_retries": 3,
        "per_try_idle_timeout": f"{server_timeout}s",
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [
            extension("retry_host_predicates.previous_hosts", "retry.host.previous_hosts"),
        ],
        "retry_priority": extension(
            "retry_priorities.previous_priorities",
            "retry.priority.previous_priorities",
            update_frequency=1,
        ),
        "retry_back_off": {"base_interval": "0.025s"},
    }
    return {"cluster": "orders", "timeout": "0s", "retry_policy": policy}


def extension(name: str, kind: str, **settings: object) -> dict[str, Any]:
    """A named extension; its message is called as its package, in capitals, plus "Config"."""
    word = kind.rpartition(".")[2].title().replace("_", "")
    typed = {"@type": f"{TYPE}.{kind}.v3.{word}{SUFFIX.get(word, '')}", **settings}
    return {"name": f"envoy.{name}", "typed_config": typed}


SUFFIX = {"PreviousHosts": "Predicate", "PreviousPriorities": "Config"}


def orders() -> dict[str, Any]:
    """The cluster."""
    endpoints = [
        {
            "priority": priority,
            "lb_endpoints": [{"endpoint": {"address": address(server)}}],
        }
        for priority, server in enumerate(SERVERS)
    ]
    check = {
        "timeout": "1s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 2,
        "tcp_health_check": {},
    }
    return {
        "name": "orders",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "orders", "endpoints": endpoints},
        "health_checks": [check],
        "circuit_breakers": {"thresholds": [{"max_retries": 1000}]},
    }


def address(text: str) -> dict[str, Any]:
    """As Envoy writes host:port."""
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
