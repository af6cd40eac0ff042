"""The options of `haclient request`: each defined once, with its help text.

`--help`, the completion scripts and the reading of a command line are all made from these lines, so
they cannot disagree. Values are kept as they were typed; `request_plan` and its neighbours make
sense of them. A letter means what it means in curl, or is not used; the long names that differ are
--trace (a timeline here, a dump in curl) and --config (the daemon's file here).

curl's `-c` is the cookie jar. With --target it names the daemon's file instead, for people who come
from `haclient check -c FILE`; --config does so without a doubt, and leaves `-c` to the jar.
"""

from __future__ import annotations

import argparse
import enum
import itertools
from collections.abc import Sequence

from haclient.ops.command_line import CommandError, CommandParser, count, duration

__all__ = ["DataKind", "RequestOptions", "build_parser", "parse_options"]

PROGRAM = "haclient request"

DEFAULT_CONFIG = "/etc/haclient/haclient.toml"
"""Where --target looks, if no file is named."""

MAX_REDIRECTS = 50
"""As curl's --max-redirs has it."""


class DataKind(enum.Enum):
    """Which option gave a piece of content; each treats "@" and line ends in its own way."""

    FORM = "data"
    RAW = "data-raw"
    BINARY = "data-binary"
    URLENCODE = "data-urlencode"
    JSON = "json"


class RequestOptions(argparse.Namespace):
    """The command line of `haclient request`, as typed."""

    urls: list[str]
    method: str | None
    headers: list[str]
    user_agent: str | None
    referer: str | None
    range: str | None
    user: str | None
    cookies: list[str]
    cookie_jar: str | None
    head: bool
    get: bool
    data: list[tuple[DataKind, str]]
    """In the order of the command line."""
    uploads: list[str]
    outputs: list[str | None]
    """One for each URL; None is -O."""
    include: bool
    verbose: bool
    silent: bool
    show_error: bool
    fail: bool
    fail_with_body: bool
    write_out: str | None
    progress_bar: bool
    no_progress_meter: bool
    location: bool
    max_redirs: int
    """-1 is without a limit."""
    backups: list[str]
    window: float | None
    order: str | None
    idempotency_key: str | None
    """None: none; empty: one is made."""
    retry: int | None
    trace: bool
    trace_json: str | None
    config: str | None
    target: str | None
    connect_timeout: float | None
    max_time: float | None
    resolve: list[str]
    connect_to: list[str]
    unix_socket: str | None
    ipv4: bool
    ipv6: bool
    proxy: str | None
    noproxy: str | None
    insecure: bool
    cacert: str | None
    cert: str | None
    key: str | None


def _time_limit(text: str) -> float | None:
    """A duration; 0 is no limit, as for curl."""
    return duration(text) or None


def _window(text: str) -> float:
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} leaves no time for another server: write 4s")
    return seconds


def _max_redirects(text: str) -> int:
    return -1 if text == "-1" else count(text)


class _Data(argparse.Action):
    """Appends (kind, value) to one list, so that the order of different options is kept."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        so_far: list[tuple[DataKind, object]] = getattr(namespace, self.dest)
        kind = DataKind(self.option_strings[-1].removeprefix("--"))
        setattr(namespace, self.dest, [*so_far, (kind, values)])


def build_parser() -> CommandParser:
    """Returns the parser of `haclient request`; completion reads it too."""
    parser = CommandParser(
        PROGRAM,
        usage="%(prog)s [options] URL...",
        description="Sends a request with curl's options; if its server dies, another one is asked.",
        epilog="An option means what it means in curl, except --trace and --config. Exit codes are curl's: "
        "6 no such name, 7 not connected, 28 too slow, 56 reset or proved dead; 78 is a bad "
        "configuration. docs/cli.md has all of them, under 'Exit codes'.",
    )
    parser.add_argument("urls", nargs="*", metavar="URL", help=argparse.SUPPRESS)
    for add in (_request, _content, _output, _availability, _connection, _tls):
        add(parser)
    return parser


def parse_options(argv: Sequence[str]) -> RequestOptions:
    """Reads the words after `haclient request`.

    Raises:
        CommandError: they make no sense; the message says which and what would do.
        SystemExit: --help was asked for, and printed.
    """
    parser = build_parser()
    options = parser.parse_args(parser.canonical(argv), namespace=RequestOptions())
    if options.target is not None and options.config is None:
        # With --target, -c names the daemon's file; without it, curl's cookie jar.
        options.config, options.cookie_jar = options.cookie_jar or DEFAULT_CONFIG, None
    _check(options, argv)
    return options


def _check(options: RequestOptions, argv: Sequence[str]) -> None:
    if not options.urls:
        raise CommandError(f"no URL: write '{PROGRAM} [options] URL', or see '{PROGRAM} --help'")
    is_post = bool(options.data) and not options.get
    is_put = any(options.uploads)
    asked = {"-d": is_post, "-T": is_put, "-I": options.head, "-G": options.get and is_put}
    names = [name for name, is_asked in asked.items() if is_asked]
    if len(names) > 1:
        raise CommandError(f"{' and '.join(names)} ask for different methods: give one of them")
    if options.fail and options.fail_with_body:
        raise CommandError("-f and --fail-with-body exclude each other: give one of them")
    for option, word in itertools.pairwise(argv):
        # Beside a URL, a key that was meant for the option would be asked as a host.
        is_meant = option == "--idempotency-key" and word in options.urls[:-1]
        if is_meant and not set("./:") & set(word):
            raise CommandError(f"{word!r} after {option}: write {option}={word} for a key")
    if options.config is not None and options.target is None:
        raise CommandError("--config needs --target NAME, the table [target.NAME] of the file")


def _request(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("request").add_argument
    add(
        "-X",
        "--request",
        dest="method",
        metavar="METHOD",
        help="the method, instead of GET, HEAD, POST or PUT",
    )
    add(
        "-H",
        "--header",
        dest="headers",
        action="append",
        default=[],
        metavar="LINE",
        help="a field; 'Name:' removes one, 'Name;' sends it empty, @FILE has one on each line",
    )
    add("-A", "--user-agent", metavar="NAME", help="the User-Agent field; '' for none")
    add("-e", "--referer", metavar="URL", help="the Referer field; 'URL;auto' follows redirects")
    add("-r", "--range", metavar="RANGE", help="only these bytes, as 0-499 or -500")
    add("-u", "--user", metavar="USER:PASSWORD", help="credentials (Basic)")
    add(
        "-b",
        "--cookie",
        dest="cookies",
        action="append",
        default=[],
        metavar="DATA|FILE",
        help="cookies to send: 'a=1; b=2', or a file of them",
    )
    add(
        "-c",
        "--cookie-jar",
        metavar="FILE",
        help="where to write cookies afterwards, - for stdout (with --target: as --config)",
    )
    add("-I", "--head", action="store_true", help="HEAD: only the head of the response")
    add("-L", "--location", action="store_true", help="follow redirects")
    add(
        "--max-redirs",
        type=_max_redirects,
        default=MAX_REDIRECTS,
        metavar="N",
        help="that many at the most (%(default)s; -1: no limit)",
    )


def _content(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("content").add_argument
    kinds = {
        ("-d", "--data"): "POST this; @FILE without its line ends, @- is stdin; several are joined by &",
        ("--data-raw",): "the same, but @ means nothing",
        ("--data-binary",): "the same, and @FILE byte for byte",
        ("--data-urlencode",): "the same, percent-encoded: TEXT, =TEXT, NAME=TEXT, @FILE, NAME@FILE",
        ("--json",): "POST as application/json; several are put together",
    }  # fmt: skip
    for names, text in kinds.items():
        add(*names, dest="data", action=_Data, default=[], metavar="DATA", help=text)
    add("-G", "--get", action="store_true", help="put what -d gives into the query of a GET")
    add(
        "-T",
        "--upload-file",
        dest="uploads",
        action="append",
        default=[],
        metavar="FILE",
        help="PUT this file, - for stdin; its name is added to a URL that ends in /",
    )


def _output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("output").add_argument
    add(
        "-o",
        "--output",
        dest="outputs",
        action="append",
        default=[],
        metavar="FILE",
        help="write the content here; repeat it for each URL",
    )
    add(
        "-O",
        "--remote-name",
        dest="outputs",
        action="append_const",
        const=None,
        help="write the content into a file of the URL's name",
    )
    add("-i", "--include", action="store_true", help="write the head of the response too")
    add(
        "-f",
        "--fail",
        action="store_true",
        help="exit with 22 at a status of 400 or more, without the content",
    )
    add("--fail-with-body", action="store_true", help="the same, with the content")
    add(
        "-w",
        "--write-out",
        metavar="FORMAT",
        help="print this afterwards: %%{http_code}, %%{time_total}, %%{json}, ...; @FILE holds it",
    )
    add("-v", "--verbose", action="store_true", help="show connection and heads on stderr")
    add("-s", "--silent", action="store_true", help="no progress bar and no errors")
    add("-S", "--show-error", action="store_true", help="errors even with -s")
    add("-#", "--progress-bar", action="store_true", help="a progress bar from the start")
    add("--no-progress-meter", action="store_true", help="no progress bar")
    add("-h", "--help", action="help", help="print this")


def _availability(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("availability").add_argument
    add(
        "--backup",
        dest="backups",
        action="append",
        default=[],
        metavar="URL",
        help="another server for the same request, asked when the first cannot answer",
    )
    add(
        "--window",
        type=_window,
        metavar="DURATION",
        help="a dead server's request is with another one within this (4s)",
    )
    add(
        "--order",
        choices=("fastest", "listed", "shuffled"),
        metavar="ORDER",
        help="which address first: fastest (races them all), listed, shuffled",
    )
    add(
        "--idempotency-key",
        nargs="?",
        const="",
        metavar="KEY",
        help="lets a POST be resent; write =KEY, without it one is made",
    )
    add("--retry", type=count, metavar="N", help="tries beyond the first (2)")
    add("--trace", action="store_true", help="a timeline on stderr: names, race, send, verdicts")
    add("--trace-json", metavar="FILE", help="the same as JSON lines")
    add("--target", metavar="NAME", help="the daemon's settings for this target")
    add("--config", metavar="FILE", help=f"where --target stands ({DEFAULT_CONFIG})")


def _connection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("connection").add_argument
    add(
        "--connect-timeout",
        type=_time_limit,
        metavar="SECONDS",
        help="for each connection attempt (1)",
    )
    add("-m", "--max-time", type=_time_limit, metavar="SECONDS", help="for all of it")
    add(
        "--resolve",
        action="append",
        default=[],
        metavar="HOST:PORT:ADDR[,ADDR]",
        help="these addresses, without asking DNS",
    )
    add(
        "--connect-to",
        action="append",
        default=[],
        metavar="HOST1:PORT1:HOST2:PORT2",
        help="connect to HOST2:PORT2 where HOST1:PORT1 is meant",
    )
    add("--unix-socket", metavar="PATH", help="connect through this socket")
    add("-4", "--ipv4", action="store_true", help="only IPv4 addresses")
    add("-6", "--ipv6", action="store_true", help="only IPv6 addresses")
    add("-x", "--proxy", metavar="URL", help="through this proxy, '' for none")
    add("--noproxy", metavar="LIST", help="hosts that are asked without a proxy, * for all")


def _tls(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("TLS").add_argument
    add("-k", "--insecure", action="store_true", help="do not verify the certificate")
    add("--cacert", metavar="FILE", help="trust these authorities instead of the system's")
    add("-E", "--cert", metavar="FILE", help="our certificate (PEM)")
    add("--key", metavar="FILE", help="its key, if it is in another file")
