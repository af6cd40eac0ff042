"""Every key of the configuration file, once: its kind, its default, what it means, who changes it.

All that speaks of keys is made from these tables: the reading of the file, the errors and their nearest
key, the JSON schema of `haclient check --schema`; and tests hold docs/configuration.md and the
defaults of the structs in `core` against them. So a key cannot exist in one place and be missing in
another.

A key without an attribute is one that INTERFACE promises and this version does not have: it is refused
with what would do, but for the value that means "without it".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from haclient.core.config import AuthSettings, DoorTls, Mode, Route
from haclient.core.spec import TLS_VERSIONS, HealthRequests, HostHeader, IdempotencyKey, TlsSettings
from haclient.ops import config_guards as guards
from haclient.ops import config_kinds as kinds
from haclient.ops.config_kinds import Kind, ListOf, TableOf, count, duration, size
from haclient.types import Order

__all__ = [
    "ADMIN",
    "AUTH",
    "DAEMON",
    "HEALTH",
    "LISTENER",
    "LISTENER_TLS",
    "LOG",
    "OTHER_NAMES",
    "RESOLVER",
    "ROUTE",
    "TARGET",
    "TLS",
    "Key",
    "Keys",
]


class Key(msgspec.Struct, frozen=True):
    """One key of a table.

    Attributes:
        kind: what its value may be.
        default: as it would be written, in JSON's types; None: there is none.
        help: what it means, for an editor and the manual.
        attribute: of the struct that is built; empty where it differs in nothing from the key.
        example: as it would be written, in TOML; of what has to be given.
        is_daemon_only: whether it means nothing to `haclient request --target`.
        is_later: whether it is promised only; then no value of it is kept.
    """

    kind: Kind
    default: Any
    help: str
    attribute: str = ""
    example: str = ""
    is_daemon_only: bool = False
    is_later: bool = False

    @property
    def is_required(self) -> bool:
        """Whether it has to be given."""
        return bool(self.example)


Keys = Mapping[str, Key]

OTHER_NAMES: Mapping[str, str] = {
    "address": "bind",
    "attempts": "max_attempts",
    "backup": "backups",
    "ca_file": "client_ca_file",
    "listen": "bind",
    "retries": "max_attempts",
    "servers": "urls",
    "timeout": "response_timeout",
    "url": "urls",
    "window": "failover_window",
}
"""What keys are called in the library, on the command line, by other proxies, and in other tables."""

URLS = ListOf(
    "list of URLs, at least one",
    kinds.URL,
    'a list of texts is wanted, as ["http://a.internal"]; it must name at least one URL',
    least=1,
)

TLS: Keys = {
    "ca_file": Key(kinds.FILE, None, "authorities to trust (PEM), in place of the system's"),
    "cert_file": Key(kinds.FILE, None, "our certificate (PEM), for servers that ask for one"),
    "key_file": Key(kinds.FILE, None, "its key (PEM, not encrypted), if not in cert_file"),
    "server_name": Key(
        kinds.NAME, None, "the name that a certificate must be for, in place of the URL's host"
    ),
    "verify": Key(kinds.BOOLEAN, True, "false: any certificate will do; for experiments"),
    "min_version": Key(kinds.one_of(TLS_VERSIONS), "1.2", "the oldest version of TLS spoken"),
}

HEALTH: Keys = {
    "path": Key(
        kinds.HEALTH_PATH,
        None,
        "asked with GET, behind the path of a target's URL",
        example='"/health"',
    ),
    "interval": Key(duration(above_zero=True), "5s", "between the beginnings of two of them"),
    "timeout": Key(
        duration(above_zero=True), "2s", "from a connection to the answer; then it is silent"
    ),
    "failures": Key(count(1), 2, "in a row, until a server is asked last"),
    "successes": Key(count(1), 2, "in a row, until it is asked like the others"),
}

TARGET: Keys = {
    "urls": Key(
        URLS, None, "every address of every URL is a candidate", example='["http://a.internal"]'
    ),
    "backups": Key(
        ListOf(
            "list of URLs",
            kinds.URL,
            'a list of texts is wanted, as ["http://a.internal"]',
        ),
        [],
        "asked when no address of urls can answer",
    ),
    "order": Key(
        kinds.member_of(Order),
        "fastest",
        "fastest: race them all; listed: URLs in this order, addresses in the answer's; "
        "shuffled: each request goes to one of them, drawn by chance",
    ),
    "failover_window": Key(
        duration(above_zero=True),
        "4s",
        "a dead server's idempotent request is on its way to another one within this",
        attribute="window",
    ),
    "response_timeout": Key(
        duration(above_zero=True), "40s", "the back-stop for a server that is alive and silent"
    ),
    "connect_timeout": Key(
        duration(above_zero=True), "1s", "for each connection attempt, and again for its handshake"
    ),
    "connection_attempt_delay": Key(
        duration(above_zero=False),
        "0ms",
        "0: all connects at once; 250ms: as RFC 8305. With listed and shuffled 0 means 250 ms",
    ),
    "race_width": Key(
        count(1), 8, "that many connects at once at the most, the rest one each 50 ms"
    ),
    "max_attempts": Key(count(1), 3, "tries of one request"),
    "failover_statuses": Key(
        kinds.STATUSES, [502, 503, 504], "an idempotent request so answered asks another server"
    ),
    "retry_budget": Key(
        kinds.RATIO, 0.2, "copies that living servers have to carry, as a share of requests"
    ),
    "replay_limit": Key(size(), "1MiB", "how much of a request's content is kept for a resend"),
    "resume": Key(
        kinds.BOOLEAN,
        True,
        "a GET broken off in mid-response goes on from another server (strong ETag only)",
        is_daemon_only=True,
    ),
    "idempotency_key": Key(
        kinds.member_of(IdempotencyKey),
        "honour",
        "honour: a request with an Idempotency-Key field may be resent; generate: one is added where "
        "it lacks; ignore: it means nothing",
    ),
    "affinity": Key(
        kinds.AFFINITY,
        "none",
        "what a client is known by, whose requests go to one server; "
        "client: its address, cookie:NAME, header:NAME",
        is_daemon_only=True,
    ),
    "host_header": Key(
        kinds.member_of(HostHeader),
        "origin",
        "which Host field servers get; origin: the URL's authority, preserve: the client's",
        is_daemon_only=True,
    ),
    "queue_timeout": Key(
        duration(above_zero=True),
        "10s",
        "how long a request waits where every address has max_connections open",
    ),
    "max_connections": Key(count(1), 256, "for each address"),
    "pool_idle_timeout": Key(
        duration(above_zero=False), "15s", "how long an unused connection is kept"
    ),
    "standby": Key(
        kinds.BOOLEAN,
        False,
        "whether a connection to another server is kept ready while a request is outstanding",
        is_daemon_only=True,
    ),
    "health": Key(
        TableOf("table", HEALTH, HealthRequests),
        None,
        "requests of the daemon's own that tell a hung server; none if left out",
        is_daemon_only=True,
    ),
    "tls": Key(
        TableOf("table", TLS, TlsSettings), {}, "how servers prove who they are, and how we do"
    ),
}
"""Of [target.NAME], and of [defaults]."""

ROUTE: Keys = {
    "host": Key(kinds.HOST, None, "the host that is asked for, without port; any if left out"),
    "path": Key(kinds.PATH, "/", "what the request's path begins with"),
    "target": Key(kinds.TEXT, None, "the NAME of a [target.NAME]", example='"NAME"'),
}

AUTH: Keys = {
    "users_file": Key(
        kinds.FILE, None, "names and hashes: what 'haclient passwd' writes", example='"users"'
    ),
    "realm": Key(guards.REALM, "haclient", "what a browser shows beside its question"),
}

LISTENER_TLS: Keys = {
    "cert_file": Key(
        kinds.FILE,
        None,
        "our certificate (PEM), and those between it and its authority",
        example='"door.pem"',
    ),
    "key_file": Key(kinds.FILE, None, "its key (PEM, not encrypted), if not in cert_file"),
    "client_ca_file": Key(
        kinds.FILE, None, "authorities (PEM): a client needs a certificate of theirs"
    ),
    "min_version": Key(kinds.one_of(TLS_VERSIONS), "1.2", "the oldest version of TLS spoken"),
}

LISTENER: Keys = {
    "bind": Key(
        kinds.BIND,
        None,
        'the local door: "127.0.0.1:8080", "unix:/run/x.sock", "systemd:NAME" (inherited)',
        example='"127.0.0.1:8080"',
    ),
    "target": Key(kinds.TEXT, None, "the NAME of a [target.NAME], for what no route matches"),
    "routes": Key(
        ListOf(
            "list of tables",
            TableOf("table", ROUTE, Route),
            'a list of tables is wanted, as [{ path = "/v1/", target = "orders" }]',
        ),
        [],
        "targets by host and path; the first that matches decides",
    ),
    "header_timeout": Key(
        duration(above_zero=True), "10s", "for a whole request head, from its first byte on"
    ),
    "body_timeout": Key(
        duration(above_zero=True), "30s", "how long a client may let its content stand still"
    ),
    "idle_timeout": Key(duration(above_zero=True), "75s", "between two requests on one connection"),
    "max_head": Key(size(1024, 1 << 20), "32KiB", "of a request's head; above it: 431"),
    "max_content": Key(size(), None, "of a request's content; above it: 413; no limit if left out"),
    "max_connections": Key(
        count(1),
        4096,
        "open at once; then the longest idle client makes way, or further ones wait in the kernel",
    ),
    "via": Key(kinds.BOOLEAN, True, "whether a Via field is added (RFC 9110)"),
    "forwarded": Key(kinds.BOOLEAN, False, "whether a Forwarded field is added (RFC 7239)"),
    "public": Key(
        kinds.BOOLEAN, False, "a bind beyond this machine, with nobody asked who he is, is meant"
    ),
    "mode": Key(
        kinds.member_of(Mode),
        "reverse",
        "what kind of door it is; reverse: HTTP to its targets, forward: HTTP to wherever requests say, "
        "tcp: bytes to a target of tcp:// URLs",
    ),
    "allow": Key(
        kinds.ALLOW,
        [],
        "whom a forward proxy may be used to reach: names, addresses and ranges, each with its port",
    ),
    "auth": Key(
        TableOf("table", AUTH, AuthSettings), None, "whoever is no user of a file is not served"
    ),
    "allow_uids": Key(
        guards.UIDS, None, "the users whose processes may use a Unix socket; root only if listed"
    ),
    "socket_mode": Key(
        guards.SOCKET_MODE, None, "the permissions of a Unix socket; who may write may connect"
    ),
    "tls": Key(
        TableOf("table", LISTENER_TLS, DoorTls),
        None,
        "TLS towards clients, who may have to show a certificate",
    ),
}
"""Of [listener.NAME]."""

RESOLVER: Keys = {
    "nameservers": Key(
        ListOf(
            "list of addresses, with or without a port",
            kinds.NAMESERVER,
            'a list of addresses is wanted, as ["10.0.0.53", "127.0.0.1:5353"]',
        ),
        [],
        "whom names are asked of, in place of the system's; the hosts file is always read first",
    ),
    "min_ttl": Key(duration(above_zero=False), "1s", "an answer is good for that long at least"),
    "max_ttl": Key(duration(above_zero=False), "300s", "an answer is good for that long at most"),
    "stale_for": Key(
        duration(above_zero=False),
        "1h",
        "how long the last good answer serves while name servers are silent (RFC 8767)",
    ),
    "state_file": Key(
        kinds.FILE,
        None,
        "where answers outlive a restart, so that a start without DNS finds servers",
    ),
}

ADMIN: Keys = {
    "bind": Key(
        kinds.BIND,
        None,
        "where the daemon is asked how it is: a Unix socket, or a loopback address",
        example='"unix:/run/haclient/admin.sock"',
    ),
}

LOG: Keys = {
    "format": Key(kinds.LOG_FORMAT, "text", "text, or json: one object a line"),
    "level": Key(kinds.LOG_LEVEL, "info", "what is too unimportant is left out"),
    "access": Key(kinds.BOOLEAN, True, "one line a request, with every attempt in it"),
}

DAEMON: Keys = {
    "drain_timeout": Key(
        duration(above_zero=False),
        "30s",
        "what outstanding requests are given once the daemon is told to end",
    ),
    "replay_memory": Key(
        size(), "32MiB", "request content kept for resends, of all requests together"
    ),
}
