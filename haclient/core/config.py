"""What the configuration file says, as values: `ops` reads the file, `proxy` acts on these.

No files here and no sockets. A target's own settings are in core.spec, for the library has them
too; here is what only a daemon has: its listeners, its admin endpoint, its log, its resolver.
Times are seconds, sizes bytes.
"""

from __future__ import annotations

import enum
import ipaddress
import re

import msgspec

from haclient.core.allow import AllowList
from haclient.core.names import ip_literal, is_loopback
from haclient.core.spec import Target

__all__ = [
    "LOG_FORMATS",
    "LOG_LEVELS",
    "AdminSettings",
    "AuthSettings",
    "Bind",
    "Config",
    "DoorTls",
    "InheritedBind",
    "ListenerSettings",
    "LogSettings",
    "Mode",
    "ResolverSettings",
    "Route",
    "TcpBind",
    "UnixBind",
    "parse_bind",
]

LOG_FORMATS = ("text", "json")

LOG_LEVELS = ("debug", "info", "warning", "error")

MAX_UNIX_PATH = 107
"""Bytes: sun_path has 108 with the zero at its end (unix(7))."""

_ADDRESS_AND_PORT = re.compile(r"(?:([0-9.]+)|\[([^\]]+)\]):([0-9]{1,5})")

_INHERITED_NAME = re.compile(r"[!-9;-~]{1,255}")
"""systemd.socket(5), FileDescriptorName=: ASCII without control characters and ":"."""


class TcpBind(msgspec.Struct, frozen=True):
    """An IP literal, without brackets, and a port; port 0 lets the kernel choose."""

    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return is_loopback(self.address)

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every address of its family."""
        return ipaddress.ip_address(self.address).is_unspecified

    def collides_with(self, other: Bind) -> bool:
        """Whether one of the two finds its address in use."""
        if not isinstance(other, TcpBind) or self.port != other.port or not self.port:
            return False
        if (":" in self.address) != (":" in other.address):
            return False
        return self.address == other.address or self.is_wildcard or other.is_wildcard


class UnixBind(msgspec.Struct, frozen=True):
    """The absolute path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def is_local(self) -> bool:
        """It is, and its permissions say who of this machine may reach it."""
        return True

    def collides_with(self, other: Bind) -> bool:
        """Whether one of the two finds its address in use."""
        return self == other


class InheritedBind(msgspec.Struct, frozen=True):
    """A listening socket that systemd hands over, by its FileDescriptorName (systemd.socket(5))."""

    name: str

    def __str__(self) -> str:
        return f"systemd:{self.name}"

    @property
    def is_local(self) -> bool:
        """Nobody can say so before the socket is there: a unit says where it is bound."""
        return False

    def collides_with(self, other: Bind) -> bool:
        """Whether both want the one socket."""
        return self == other


Bind = TcpBind | UnixBind | InheritedBind


def parse_bind(text: str) -> Bind:
    """Reads "127.0.0.1:8080", "[::1]:8080", "unix:/run/x.sock" or "systemd:NAME".

    Raises:
        ValueError: it is none of these; the message says what would do.
    """
    kind, colon, rest = text.partition(":")
    if kind == "unix" and colon:
        return UnixBind(_unix_path(rest))
    if kind == "systemd" and colon:
        if not _INHERITED_NAME.fullmatch(rest):
            raise ValueError('behind "systemd:" goes the FileDescriptorName of a socket unit')
        return InheritedBind(rest)
    found = _ADDRESS_AND_PORT.fullmatch(text)
    address = ip_literal(found[1] or found[2]) if found is not None else None
    if found is None or address is None or int(found[3]) > 65535:
        raise ValueError(
            'write an address and a port, as "127.0.0.1:8080" or "[::1]:8080", '
            '"unix:/run/haclient/x.sock" or "systemd:NAME"'
        )
    return TcpBind(address, int(found[3]))


def _unix_path(path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError('the path of a socket is absolute: write "unix:/run/haclient/x.sock"')
    if (length := len(path.encode("utf-8", "surrogateescape"))) > MAX_UNIX_PATH:
        raise ValueError(
            f"the path of a socket has {MAX_UNIX_PATH} bytes at the most, and this one {length}"
        )
    return path


class Route(msgspec.Struct, frozen=True):
    """Requests for `host` (any, where empty; lower case) below `path` go to the target so named."""

    target: str
    host: str = ""
    path: str = "/"


class Mode(enum.Enum):
    """What kind of door a listener is."""

    REVERSE = "reverse"
    """Requests go to the targets that its routes name."""
    FORWARD = "forward"
    """Requests go where they say, if `allow` lets them; CONNECT is served."""
    TCP = "tcp"
    """Bytes go to its target as they come, whatever they mean."""


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Basic authentication (RFC 7617): whoever is no user of the file is not served.

    Attributes:
        users_file: what `haclient passwd` writes.
        realm: what a browser shows beside its question.
    """

    users_file: str
    realm: str = "haclient"


class DoorTls(msgspec.Struct, frozen=True, kw_only=True):
    """TLS towards clients.

    Attributes:
        cert_file: our certificate, and those between it and its authority.
        key_file: its key, if that is not in cert_file.
        client_ca_file: authorities; a client without a certificate of theirs is turned away.
        min_version: the oldest version spoken.
    """

    cert_file: str
    key_file: str | None = None
    client_ca_file: str | None = None
    min_version: str = "1.2"


class ListenerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One local door.

    Attributes:
        mode: what kind of door it is.
        routes: the first that matches decides; `target` is for what none of them matches.
        allow: whom a forward proxy may be used to reach.
        header_timeout: for a whole request head, from its first byte on.
        body_timeout: without a byte of content moving, either way, that is the client's to move.
        idle_timeout: between two requests on one connection.
        max_head: bytes of a request head.
        max_content: bytes of a request's content; None is no limit.
        max_connections: open at once; then the longest idle client makes way for a further one, or
            that waits in the kernel's queue.
        via: whether Via is added (RFC 9110, section 7.6.3).
        forwarded: whether Forwarded is added (RFC 7239).
        public: whether a bind beyond loopback, with nobody asked who he is, is meant.
        tls: what a client has to speak; None: nothing, it is plain.
        auth: whose name and password are asked for; None asks nobody.
        allow_uids: of the processes that may connect to a Unix socket; None asks nobody.
        socket_mode: of a Unix socket, in octal; None: as the process's umask has it.
    """

    name: str
    bind: Bind
    mode: Mode = Mode.REVERSE
    target: str | None = None
    routes: tuple[Route, ...] = ()
    allow: AllowList = AllowList()
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    max_head: int = 32768
    max_content: int | None = None
    max_connections: int = 4096
    via: bool = True
    forwarded: bool = False
    public: bool = False
    auth: AuthSettings | None = None
    tls: DoorTls | None = None
    allow_uids: frozenset[int] | None = None
    socket_mode: str | None = None


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

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            ValueError: no TTL lies between the two.
        """
        if self.min_ttl > self.max_ttl:
            raise ValueError(f"min_ttl is {self.min_ttl:g} s, above max_ttl, {self.max_ttl:g} s")


class AdminSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon is asked how it is, and told what to do."""

    bind: Bind


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon tells what happens.

    Attributes:
        format: one of LOG_FORMATS.
        level: one of LOG_LEVELS.
        access: whether each request has its line.
    """

    format: str = "text"
    level: str = "info"
    access: bool = True


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        drain_timeout: seconds that outstanding requests are given once the daemon is told to end.
        defaults: what [defaults] says, for the destinations of forward proxies, which no target names; its
            URL is nobody's.
        replay_memory: bytes of request content kept for resends, of all requests together. With as
            much again for pieces on their way, 500 stuck uploads cost less than 64 MiB.
    """

    targets: dict[str, Target]
    listeners: tuple[ListenerSettings, ...] = ()
    resolver: ResolverSettings = ResolverSettings()
    admin: AdminSettings | None = None
    log: LogSettings = LogSettings()
    defaults: Target = Target(urls="http://destination.invalid")
    drain_timeout: float = 30.0
    replay_memory: int = 32 << 20
