"""Keys that mean nothing where the protocol is not HTTP.

A key that is read and has no effect lets its user believe that it has one: `idle_timeout` on a door for a
database, `tls` on its target. So what stands in the table of such a door or target itself is refused;
[defaults], which are for every target, are passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping

from haclient.core.config_check import KeyPath
from haclient.ops.config_read import Source

__all__ = [
    "HTTP_LISTENER_KEYS",
    "HTTP_TARGET_KEYS",
    "refuse_http_keys",
]

NOTHING_IN_IT = "bytes go through as they are, so there is no request that it could mean; remove it"

HTTP_TARGET_KEYS: Mapping[str, str] = {
    "response_timeout": "a slow answer has no limit in TCP mode, and a dead server is found without one; remove it",
    **dict.fromkeys(
        (
            "failover_statuses",
            "retry_budget",
            "replay_limit",
            "resume",
            "idempotency_key",
            "host_header",
            "health",
        ),
        NOTHING_IN_IT,
    ),
    "pool_idle_timeout": "connections of TCP mode are never pooled; remove it",
    "standby": "connections of TCP mode are never pooled; remove it",
    "tls": "TLS goes through as it is, between client and server; remove it",
}

HTTP_LISTENER_KEYS: Mapping[str, str] = {
    "routes": 'there is no host or path to go by; write target = "NAME"',
    "auth": "there is no HTTP to ask for a password in; write allow_uids, or tls with client_ca_file",
    "idle_timeout": "a quiet connection is kept for as long as its client wants it; remove it",
    **dict.fromkeys(
        ("header_timeout", "body_timeout", "max_head", "max_content", "via", "forwarded"),
        NOTHING_IN_IT,
    ),
}


def refuse_http_keys(source: Source, path: KeyPath, keys: Mapping[str, str]) -> None:
    """Notes each of `keys` that stands in the table at `path` as a mistake, with what would do."""
    for name in source.names(path):
        if name in keys:
            source.error((*path, name), keys[name])
