"""Asking the running daemon: one request to its admin endpoint, without the engine.

`haclient ready` is a probe that an orchestrator starts every second; the engine's 150 ms of imports
would be most of its cost, and http.client brings email and ssl. One request of HTTP/1.0 over one socket needs neither:
a server sends no chunked content to it (RFC 9112, section 6.1), and the end of the connection is the end of
the answer.

Where the endpoint is, the daemon's own file says; of it only `[admin] bind` is read here, so that a
mistake elsewhere in the file, which `reload` is there to report, does not keep `reload` from asking; of a
file that is no TOML at all, that line.

Left out: names in place of addresses (the endpoint is on this machine), TLS, redirects.
"""

from __future__ import annotations

import argparse
import socket
import time

from haclient._version import __version__
from haclient.ops.command_line import CommandError, CommandParser, duration
from haclient.ops.options import DEFAULT_CONFIG
from haclient.regular_file import read_regular

__all__ = ["Answer", "address_of", "admin_parser", "ask", "endpoint"]

# Of `exit_codes`, whose import a probe need not pay for.
GARBLED, NOT_CONNECTED, TIMED_OUT, EMPTY, BROKEN_OFF, CONFIGURATION = 1, 7, 28, 52, 56, 78

MOST = 64 << 20
"""Bytes of an answer. A target of 1,000 addresses takes 200 KiB in /status."""


class Answer:
    """What the daemon answered: status, media type, content."""

    __slots__ = ("content", "media_type", "status")

    def __init__(self, status: int, media_type: str, content: bytes) -> None:
        self.status = status
        self.media_type = media_type
        self.content = content

    @property
    def is_successful(self) -> bool:
        """2xx."""
        return 200 <= self.status <= 299


def admin_parser(
    name: str, usage: str, description: str, epilog: str, patience: float
) -> CommandParser:
    """The options that all of these commands have; `patience` is what they wait without -m, in seconds."""
    parser = CommandParser(
        f"haclient {name}", usage=f"%(prog)s {usage}", description=description, epilog=epilog
    )
    add = parser.add_argument
    add(
        "-c",
        "--config",
        metavar="FILE",
        default=DEFAULT_CONFIG,
        help="the daemon's file (%(default)s)",
    )
    add("--admin", metavar="ADDRESS", help='ask there: "unix:/path" or "127.0.0.1:9000"')
    wait = f"wait no longer than this ({patience:g})"
    add("-m", "--max-time", metavar="SECONDS", type=duration, default=patience, help=wait)
    add("-h", "--help", action="help", help="print this")
    add("rest", nargs="*", help=argparse.SUPPRESS)
    return parser


def endpoint(parser: CommandParser, argv: list[str]) -> tuple[argparse.Namespace, str]:
    """Reads the command line; returns its options and the address to ask."""
    options = parser.parse_args(parser.canonical(argv))
    if options.rest:
        parser.error(f"what is {options.rest[0]!r}?")
    return options, options.admin or address_of(options.config)


def address_of(path: str) -> str:
    """Returns `[admin] bind` of the configuration file.

    Raises:
        CommandError: exit 78; there is none, or none that could be asked.
    """
    import tomllib  # with --admin there is no file

    try:
        text = read_regular(path).decode()
    except OSError as error:
        raise _lost(f"{path}: it cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise _lost(f"{path} does not say where the daemon is: {error}") from None
    try:
        bind = tomllib.loads(text).get("admin", {}).get("bind")
    except AttributeError:
        raise _lost(f"{path} does not say where the daemon is: admin is no table") from None
    except (ValueError, RecursionError) as error:
        bind = scanned_bind(text)
        if not bind:
            end = f"line {text.rstrip().count(chr(10)) + 1}, its end"
            what = str(error).replace("end of document", end)
            raise _lost(
                f"{path} does not say where the daemon is, for it is not TOML: {what}"
            ) from None
    if not isinstance(bind, str):
        raise _lost(f'{path} has no [admin] bind, as "unix:/run/haclient/admin.sock"')
    if bind.startswith("systemd:"):
        raise _lost(f"{path}: [admin] bind = {bind!r} is known to the service manager alone")
    return bind


def scanned_bind(text: str) -> str:
    """`bind` of [admin], in a text that is not TOML: a daemon that runs can be asked all the same.

    One that is mended by hand is broken somewhere, and mostly elsewhere; what would be understood
    wrongly is an address where nobody is.
    """
    table = ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            table = line.partition("#")[0].strip().strip("[] \t")
        key, equals, value = line.partition("=")
        if table == "admin" and equals and key.strip() == "bind":
            value = value.strip()
            quote = value[:1]
            found, end, _ = value[1:].partition(quote) if quote in ("'", '"') else ("", "", "")
            return found if end else ""
    return ""


def ask(address: str, method: str, path: str, within: float) -> Answer:
    """Sends one request and returns the answer to it.

    Args:
        address: "unix:/path", "127.0.0.1:9000" or "[::1]:9000".
        method: GET or POST.
        path: of the request.
        within: seconds for all of it.

    Raises:
        CommandError: 7, 28, 52 or 56, as curl has them; 1: whoever answers is no HTTP server.
    """
    deadline = time.perf_counter() + within
    head = (
        f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: haclient/{__version__}\r\n"
        "Accept: application/json\r\nContent-Length: 0\r\n\r\n"
    )
    try:
        with _connected(address, within) as connection:
            connection.sendall(head.encode())
            answer = _read_all(connection, deadline)
    except TimeoutError:
        raise CommandError(
            f"the daemon at {address} did not answer within {within:g} s; allow more with -m, and "
            "look into its log",
            TIMED_OUT,
        ) from None
    except OSError as error:
        raise CommandError(
            f"the daemon at {address} broke off: {error.strerror}", BROKEN_OFF
        ) from None
    return _parsed(answer, address)


def _connected(address: str, within: float) -> socket.socket:
    family, where = _socket_address(address)
    connection = socket.socket(family)
    try:
        connection.settimeout(within)
        connection.connect(where)
    except TimeoutError:
        connection.close()
        raise
    except OSError as error:
        connection.close()
        remedy = "is it running ('haclient serve'), and is that its address (-c, --admin)?"
        if isinstance(error, PermissionError):
            remedy = "ask as its user, or as root"
        raise CommandError(
            f"the daemon cannot be reached at {address}: {error.strerror}; {remedy}", NOT_CONNECTED
        ) from None
    return connection


def _socket_address(address: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    if address.startswith("unix:/") and "\0" not in address:
        return socket.AF_UNIX, address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        socket.inet_pton(family, bare)
        number = int(port) if port.isascii() and port.isdigit() else 0
    except (OSError, ValueError):
        number = 0
    if not 0 < number < 65536 or (family is socket.AF_INET6) != (bare != host):
        raise CommandError(
            f'{address!r} is no address to ask: write "unix:/path", "127.0.0.1:9000" or '
            '"[::1]:9000"',
            CONFIGURATION,
        )
    return family, (bare, number)


def _read_all(connection: socket.socket, deadline: float) -> bytes:
    answer = bytearray()
    while len(answer) <= MOST:
        left = deadline - time.perf_counter()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(65536)
        if not piece:
            break
        answer += piece
    return bytes(answer)


def _parsed(answer: bytes, address: str) -> Answer:
    if not answer:
        raise CommandError(f"the daemon at {address} closed without an answer; try again", EMPTY)
    head, end, content = answer.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    words = line.split(" ", 2)
    if not end or not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise CommandError(
            f"whoever answers at {address} does not speak HTTP; name the admin endpoint with --admin",
            GARBLED,
        )
    fields = {
        name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
    }
    if fields.get("content-length", str(len(content))) != str(len(content)):
        raise CommandError(f"the answer of the daemon at {address} broke off", BROKEN_OFF)
    media_type = fields.get("content-type", "").partition(";")[0].strip().lower()
    return Answer(int(words[1]), media_type, content)


def _lost(message: str) -> CommandError:
    return CommandError(
        f"{message}; name the file with -c, or the endpoint with --admin", CONFIGURATION
    )
