"""What the configuration file says, as values: `ops` reads the file, `proxy` acts on these.

No files here and no sockets. A target's own settings are in core.spec, for the library has them
too; here is what only a daemon has: its listeners, its admin endpoint, its log, its resolver.
Times are seconds, sizes bytes.
"""

from __future__ import annotations

import msgspec

from haclient.core.spec import Target

__all__ = [
    "AdminSettings",
    "Bind",
    "Config",
    "InheritedBind",
    "ListenerSettings",
    "LogSettings",
    "ResolverSettings",
    "Route",
    "TcpBind",
    "UnixBind",
]


class TcpBind(msgspec.Struct, frozen=True):
    """An IP literal, without brackets, and a port; port 0 lets the kernel choose."""

    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


class UnixBind(msgspec.Struct, frozen=True):
    """The absolute path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class InheritedBind(msgspec.Struct, frozen=True):
    """A listening socket that systemd hands over, by its FileDescriptorName (systemd.socket(5))."""

    name: str

    def __str__(self) -> str:
        return f"systemd:{self.name}"


Bind = TcpBind | UnixBind | InheritedBind


class Route(msgspec.Struct, frozen=True):
    """Requests for `host` (any, where empty; lower case) below `path` go to the target so named."""

    target: str
    host: str = ""
    path: str = "/"


class ListenerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One local door.

    Attributes:
        routes: the first that matches decides; `target` is for what none of them matches.
        header_timeout: for a whole request head, from its first byte on.
        body_timeout: without a byte of content moving, either way, that is the client's to move.
        idle_timeout: between two requests on one connection.
        max_head: bytes of a request head.
        max_content: bytes of a request's content; None is no limit.
        max_connections: open at once; further ones wait in the kernel's queue.
        via: whether Via is added (RFC 9110, section 7.6.3).
        forwarded: whether Forwarded is added (RFC 7239).
        public: whether a bind beyond loopback, with nobody asked who he is, is meant.
    """

    name: str
    bind: Bind
    target: str | None = None
    routes: tuple[Route, ...] = ()
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    max_head: int = 32768
    max_content: int | None = None
    max_connections: int = 4096
    via: bool = True
    forwarded: bool = False
    public: bool = False


class ResolverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom names are asked of; the system's name servers where there are none.

    Attributes:
        min_ttl, max_ttl: an answer's TTL is brought between these.
        stale_for: how long the last good answer serves while name servers are silent (RFC 8767).
        state_file: where it outlives a restart.
    """

    nameservers: tuple[str, ...] = ()
    min_ttl: float = 1.0
    max_ttl: float = 300.0
    stale_for: float = 3600.0
    state_file: str | None = None


class AdminSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon is asked how it is, and told what to do."""

    bind: Bind


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon tells what happens.

    Attributes:
        format: "text" or "json".
        level: "debug", "info", "warning" or "error".
        access: whether each request has its line.
    """

    format: str = "text"
    level: str = "info"
    access: bool = True


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        drain_timeout: seconds that outstanding requests are given once the daemon is told to end.
        replay_memory: bytes of request content kept for resends, of all requests together.
    """

    targets: dict[str, Target]
    listeners: tuple[ListenerSettings, ...] = ()
    resolver: ResolverSettings = ResolverSettings()
    admin: AdminSettings | None = None
    log: LogSettings = LogSettings()
    drain_timeout: float = 30.0
    replay_memory: int = 64 << 20
