r"""-w: what to print after a transfer, in curl's words.

Scripts take these apart, so the form is curl's to the digit: times as seconds with six decimals,
codes with three digits, speeds as whole numbers, an empty text for what is not known. `%{json}` has
curl's keys in curl's order, with haclient's own behind them.

    %{name}                    a variable, its name in any letter case
    %header{name}              the first value of a response field
    %{header_json}, %{json}    all of the fields, all of the variables
    %{stdout}, %{stderr}       where the rest goes
    %{onerror}                 the rest only if the transfer failed
    %%  \n  \r  \t             a percent sign, line end, carriage return, tab

haclient's own: %{attempts} (how many there were; in %{json} each with its result), %{failover_time}
(seconds from the start of the first attempt to the start of the one that answered).

A name that does not exist is reported on stderr and prints nothing, as in curl. Left out: %output{},
%time{}, certificates (%{certs} is empty).
"""

from __future__ import annotations

import enum
import json
import os
import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from haclient._version import __version__
from haclient.ops.content import read_local
from haclient.types import AttemptRecord, Endpoint, Fields, Instant

__all__ = ["Piece", "Stream", "Times", "Transfer", "read_format", "render"]

# Any other pair that starts with "%" or a backslash is printed as it is, as a pair.
_PIECE = re.compile(r"%\{([^}]*)\}|%header\{([^}]*)\}|%(?!\{|header\{).|\\.", re.DOTALL)
_ESCAPES = {"%%": "%", "\\n": "\n", "\\r": "\r", "\\t": "\t"}


class Stream(enum.Enum):
    """Where a piece is written."""

    STDOUT = "stdout"
    STDERR = "stderr"


class Piece(NamedTuple):
    """A text and where it goes."""

    stream: Stream
    text: str


class Times(msgspec.Struct, frozen=True):
    """Seconds from the start of the transfer, each from the attempt that answered (or the last).

    0 where the step was not reached, or not needed: no TLS, a connection from the pool.
    """

    name_lookup: float = 0.0
    connect: float = 0.0
    app_connect: float = 0.0
    """The TLS handshake was done."""
    pre_transfer: float = 0.0
    start_transfer: float = 0.0
    redirect: float = 0.0
    """All of the transfer before the last redirect's request."""
    total: float = 0.0

    @classmethod
    def of(
        cls,
        attempts: tuple[AttemptRecord, ...],
        started_at: Instant,
        ended_at: Instant,
        *,
        redirected_at: Instant | None = None,
    ) -> Times:
        """Reads them from the attempts of the last exchange.

        Args:
            attempts: of the last exchange; empty where none began.
            started_at: when the transfer began, the first request of a row of redirects.
            ended_at: when it was over.
            redirected_at: when the last request of such a row began; None without redirects.
        """
        total = ended_at - started_at
        redirect = 0.0 if redirected_at is None else redirected_at - started_at
        if not attempts:
            return cls(redirect=redirect, total=total)
        last = attempts[-1]

        def since(instant: Instant | None) -> float:
            return 0.0 if instant is None else max(0.0, instant - started_at)

        return cls(
            name_lookup=since(last.resolved_at),
            connect=since(last.connected_at),
            app_connect=since(last.usable_at) if last.origin.is_secure else 0.0,
            pre_transfer=since(last.usable_at),
            start_transfer=since(last.first_byte_at),
            redirect=redirect,
            total=total,
        )


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one URL's transfer when it is over. Sizes in bytes; 0 is "not reached"."""

    url: str
    """As it was given."""
    url_effective: str
    """The last one, after redirects."""
    method: str
    exit_code: int = 0
    error_message: str = ""
    http_code: int = 0
    http_version: str = "0"
    """"1.1"; "0" without a response."""
    scheme: str = ""
    content_type: str = ""
    redirect_url: str = ""
    """Where a 3xx points that was not followed."""
    referer: str = ""
    filename: str = ""
    """Where the content was written."""
    fields: Fields = ()
    """Of the last response."""
    times: Times = msgspec.field(default_factory=Times)
    size_download: int = 0
    size_upload: int = 0
    size_header: int = 0
    size_request: int = 0
    remote: Endpoint | None = None
    local: Endpoint | None = None
    num_connects: int = 0
    num_redirects: int = 0
    num_retries: int = 0
    ssl_verify_result: int = 0
    urlnum: int = 0
    attempts: tuple[AttemptRecord, ...] = ()
    """Of all exchanges, redirects included."""

    @property
    def failover_time(self) -> float:
        """Seconds that the answering attempt began after the first one; 0 with one attempt.

        Of the last exchange: numbers start again with each.
        """
        first = max((i for i, one in enumerate(self.attempts) if one.number == 1), default=None)
        if first is None:
            return 0.0
        return self.attempts[-1].started_at - self.attempts[first].started_at

    def speed(self, size: int) -> int:
        """Bytes a second over the whole transfer."""
        return int(size / self.times.total) if self.times.total > 0 else 0


Value = str | int | float | None


def _variables(transfer: Transfer) -> dict[str, Value]:
    """Every variable with its value; floats are seconds, None is null in JSON and empty in text."""
    t, times = transfer, transfer.times
    return {
        "certs": "",
        "content_type": t.content_type or None,
        "errormsg": t.error_message or None,
        "exitcode": t.exit_code,
        "filename_effective": t.filename or None,
        "ftp_entry_path": None,
        "http_code": t.http_code,
        "http_connect": 0,
        "http_version": t.http_version,
        "local_ip": t.local.address if t.local else "",
        "local_port": t.local.port if t.local else 0,
        "method": t.method,
        "num_certs": 0,
        "num_connects": t.num_connects,
        "num_headers": len(t.fields),
        "num_redirects": t.num_redirects,
        "num_retries": t.num_retries,
        "proxy_ssl_verify_result": 0,
        "redirect_url": t.redirect_url or None,
        "referer": t.referer or None,
        "remote_ip": t.remote.address if t.remote else "",
        "remote_port": t.remote.port if t.remote else 0,
        "response_code": t.http_code,
        "scheme": t.scheme.upper() or None,
        "size_download": t.size_download,
        "size_header": t.size_header,
        "size_request": t.size_request,
        "size_upload": t.size_upload,
        "speed_download": t.speed(t.size_download),
        "speed_upload": t.speed(t.size_upload),
        "ssl_verify_result": t.ssl_verify_result,
        "time_appconnect": times.app_connect,
        "time_connect": times.connect,
        "time_namelookup": times.name_lookup,
        "time_pretransfer": times.pre_transfer,
        "time_redirect": times.redirect,
        "time_starttransfer": times.start_transfer,
        "time_total": times.total,
        "url": t.url,
        "url_effective": t.url_effective,
        "urlnum": t.urlnum,
        "haclient_version": __version__,
        "failover_time": t.failover_time,
    }


THREE_DIGITS = {"http_code", "response_code", "http_connect"}


def read_format(text: str, read_stdin: Callable[[], bytes]) -> str:
    r"""Returns the format that -w was given, read from "@FILE" or "@-" where it is one of these.

    Line ends in a file are left out, as in curl: "\n" makes one.

    Raises:
        haclient.ops.command_line.CommandError: the file cannot be read (26).
    """
    if not text.startswith("@"):
        return text
    return os.fsdecode(read_local(text[1:], "-w", read_stdin).translate(None, b"\r\n\0"))


def render(template: str, transfer: Transfer) -> list[Piece]:
    """Returns what to write, in order; unknown names as complaints on stderr among it."""
    variables = _variables(transfer)
    stream = Stream.STDOUT
    pieces: list[Piece] = []
    end = 0
    for match in _PIECE.finditer(template):
        pieces.append(Piece(stream, template[end : match.start()]))
        end = match.end()
        name, header = match[1], match[2]
        if header is not None:
            pieces.append(Piece(stream, _first(transfer.fields, header)))
        elif name is None:
            pieces.append(Piece(stream, _ESCAPES.get(match[0], match[0])))
        elif name.lower() in {"stdout", "stderr"}:
            stream = Stream(name.lower())
        elif name.lower() == "onerror":
            if not transfer.exit_code:
                return _joined(pieces)
        else:
            text = _text(name.lower(), variables, transfer)
            if text is None:
                complaint = f"haclient: unknown --write-out variable: {name!r}\n"
                pieces.append(Piece(Stream.STDERR, complaint))
            else:
                pieces.append(Piece(stream, text))
    return _joined([*pieces, Piece(stream, template[end:])])


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Neighbours on the same stream as one piece, empty ones left out."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].stream is piece.stream:
            joined[-1] = Piece(piece.stream, joined[-1].text + piece.text)
        elif piece.text:
            joined.append(piece)
    return joined


def _text(name: str, variables: dict[str, Value], transfer: Transfer) -> str | None:
    """A variable as text; None where there is none of that name."""
    if name == "json":
        return _json(variables, transfer)
    if name == "header_json":
        return _header_json(transfer.fields)
    if name == "attempts":
        return str(len(transfer.attempts))
    if name not in variables:
        return None
    value = variables[name]
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}"
    return f"{value:03d}" if name in THREE_DIGITS else str(value)


def _first(fields: Fields, name: str) -> str:
    wanted = name.lower().encode("utf-8", "surrogateescape")
    for each, value in fields:
        if each.lower() == wanted:
            return value.decode("utf-8", "surrogateescape")
    return ""


def _header_json(fields: Fields) -> str:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name.decode("latin-1").lower(), []).append(
            value.decode("utf-8", "replace")
        )
    lines = (f"{_quoted(name)}:{_quoted(values)}" for name, values in found.items())
    return "{" + ",\n".join(lines) + "\n}"


def _json(variables: dict[str, Value], transfer: Transfer) -> str:
    # json.dumps would write 0.0 and 1e-05 where curl writes 0.000000 and 0.000010.
    members = [
        f'"{name}":' + (f"{value:.6f}" if isinstance(value, float) else _quoted(value))
        for name, value in variables.items()
    ]
    first = min((one.started_at for one in transfer.attempts), default=0.0)
    attempts = [_attempt(one, first) for one in transfer.attempts]
    return "{" + ",".join([*members, f'"attempts":{_quoted(attempts)}']) + "}"


def _attempt(record: AttemptRecord, first: Instant) -> dict[str, object]:
    """One attempt, with the words of the daemon's problem+json; times in whole milliseconds."""
    return {
        "number": record.number,
        "endpoint": str(record.endpoint) if record.endpoint else None,
        "origin": str(record.origin),
        "phase": record.phase.value,
        "verdict": record.verdict.value,
        "evidence": str(record.evidence) if record.evidence else None,
        "detail": record.detail,
        "status": record.status,
        "start_ms": round((record.started_at - first) * 1000),
        "end_ms": round((record.ended_at - first) * 1000),
    }


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
