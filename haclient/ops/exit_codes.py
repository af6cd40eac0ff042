"""What went wrong, as curl's exit code and as one line.

Scripts branch on curl's numbers, so each error has the one that curl 7.88 was seen to exit with in
the same case (tests/ops/test_exit_codes.py has the table of what was run). Where curl has no case of its
own, because it would wait instead, the nearest one: a server that was proved dead is as a connection
that was reset.

    case                                                    curl   here
    URL malformed; port 0                                   3; 7   3    it can never be connected
    scheme other than http and https                        1      1
    nothing but garbage, HTTP/0.9, a bad status line        1      1
    a bad field or Content-Length                           8      1    h11 gives one error for a head
    bad chunked framing                                     56     56
    closed before a byte of the response                    52     52
    reset before or within the response                     56     56
    closed within the content                               18     18
    closed within the head                                  0, 52  52   a head that breaks off is no answer
    connects: all refused; all timed out                    7; 28  7; 28
    the proxy refuses CONNECT                               56     56
    -d @FILE that is not there                              0      26   later versions of curl too

Nothing here imports the engine: a wrong option needs none of it.
"""

from __future__ import annotations

import enum

from haclient import errors
from haclient.ops.command_line import CommandError
from haclient.types import Phase

__all__ = ["ExitCode", "error_line", "exit_code_for", "leaf_of"]


class ExitCode(enum.IntEnum):
    """curl's, where curl has one; above 99, and sysexits' 70 and 78, where it has not."""

    OK = 0
    UNSUPPORTED_PROTOCOL = 1
    USAGE = 2
    URL_MALFORMED = 3
    PROXY_NOT_RESOLVED = 5
    HOST_NOT_RESOLVED = 6
    NOT_CONNECTED = 7
    WEIRD_REPLY = 8
    PARTIAL = 18
    HTTP_ERROR = 22
    WRITE_ERROR = 23
    READ_ERROR = 26
    TIMED_OUT = 28
    TLS_FAILED = 35
    TOO_MANY_REDIRECTS = 47
    RESOLVE_SYNTAX = 49
    EMPTY_REPLY = 52
    SEND_ERROR = 55
    RECEIVE_ERROR = 56
    OWN_CERTIFICATE = 58
    PEER_CERTIFICATE = 60
    TOO_LARGE = 63
    CANNOT_REWIND = 65
    BUG = 70
    CA_FILE = 77
    CONFIGURATION = 78
    INTERRUPTED = 130


# The first one that fits counts: subclasses stand before their bases.
_CODES: tuple[tuple[type[errors.Error], ExitCode], ...] = (
    (errors.UnsupportedSchemeError, ExitCode.UNSUPPORTED_PROTOCOL),
    (errors.UrlError, ExitCode.URL_MALFORMED),
    (errors.BadRequestError, ExitCode.USAGE),
    (errors.ContentError, ExitCode.READ_ERROR),
    (errors.ResolveError, ExitCode.HOST_NOT_RESOLVED),
    (errors.CertificateError, ExitCode.PEER_CERTIFICATE),
    (errors.TlsError, ExitCode.TLS_FAILED),
    (errors.ProxyError, ExitCode.RECEIVE_ERROR),
    (errors.ConnectTimeoutError, ExitCode.TIMED_OUT),
    (errors.ConnectError, ExitCode.NOT_CONNECTED),
    (errors.ResponseTimeoutError, ExitCode.TIMED_OUT),
    (errors.DeadlineError, ExitCode.TIMED_OUT),
    (errors.ContentTooLargeError, ExitCode.TOO_LARGE),
    (errors.TooManyRedirectsError, ExitCode.TOO_MANY_REDIRECTS),
)

# net.tls.TlsFileError says which file it was; its module would load ssl for a wrong option.
_FILES = {
    "certificate": ExitCode.OWN_CERTIFICATE,
    "key": ExitCode.OWN_CERTIFICATE,
    "CA": ExitCode.CA_FILE,
}

# The engine's errors say what could be done; where an option of the command does it, that is said in
# its place: one remedy a line.
_REMEDIES: dict[ExitCode, str] = {
    ExitCode.UNSUPPORTED_PROTOCOL: "Check that a server of HTTP/1.1 listens there",
    ExitCode.PROXY_NOT_RESOLVED: "Check the proxy's name (-x, http_proxy)",
    ExitCode.HOST_NOT_RESOLVED: "Give its address with --resolve",
    ExitCode.PARTIAL: "What was written is not the whole: ask again",
    ExitCode.TIMED_OUT: "Allow more with -m, or name another server with --backup",
    ExitCode.TOO_MANY_REDIRECTS: "See where it goes with -v",
    ExitCode.EMPTY_REPLY: "Try again, or name another server with --backup",
    ExitCode.SEND_ERROR: "Try again, or name another server with --backup",
    ExitCode.RECEIVE_ERROR: "Try again, or name another server with --backup",
    ExitCode.OWN_CERTIFICATE: "Name files in PEM with --cert and --key",
    ExitCode.PEER_CERTIFICATE: "Check its names and dates, or name its authority with --cacert",
    ExitCode.CA_FILE: "Name a file in PEM with --cacert",
}

_IN_DOUBT = "Find out whether the request was executed before it is sent again; "
_RESENT = "where the servers honour keys, --idempotency-key lets haclient send it again"


def exit_code_for(error: BaseException, *, is_proxied: bool = False) -> ExitCode:
    """Returns the exit code for whatever ended a transfer.

    Args:
        error: what was raised.
        is_proxied: whether a forward proxy was asked; then its name alone was looked up.
    """
    match leaf_of(error):
        case CommandError() as error:
            return ExitCode(error.exit_code)
        case errors.ServerDiedError() as error:
            return _for_broken_connection(error)
        case errors.ProtocolError() as error:
            # h11 has one error for all of a head; what breaks later is the chunked coding.
            is_head_whole = error.stage is Phase.RECEIVING
            return ExitCode.RECEIVE_ERROR if is_head_whole else ExitCode.UNSUPPORTED_PROTOCOL
        case errors.ResolveError() if is_proxied:
            return ExitCode.PROXY_NOT_RESOLVED
        case errors.BadRequestError() as error if (role := getattr(error, "role", None)) in _FILES:
            return _FILES[role]
        case errors.Error() as error:
            return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.BUG)
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case OSError():
            # The engine turns its own into errors.Error; what is left is the output's.
            return ExitCode.WRITE_ERROR
        case _:
            return ExitCode.BUG


def leaf_of(error: BaseException) -> BaseException:
    """What a person should hear of first: an interrupt, or else the first error of a group."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [leaf_of(each) for each in error.exceptions]
    return next((each for each in leaves if isinstance(each, KeyboardInterrupt)), leaves[0])


def _for_broken_connection(error: errors.ServerDiedError) -> ExitCode:
    if error.stage is Phase.SENDING:
        return ExitCode.SEND_ERROR
    # An end in good order (FIN) leaves no evidence; a reset, an unreachable host, a proof of death do.
    connected = [one for one in error.attempts if one.endpoint is not None]
    if connected and connected[-1].evidence is not None:
        return ExitCode.RECEIVE_ERROR
    is_partial = isinstance(error, errors.ResponseIncompleteError)
    return ExitCode.PARTIAL if is_partial else ExitCode.EMPTY_REPLY


def error_line(
    error: BaseException, *, is_proxied: bool = False, is_idempotent: bool = True
) -> str:
    """Returns "haclient: (7) ..." for stderr, without a line end: what happened, and what to do.

    Several attempts are told on one line. A password never shows: errors do not hold one.

    Args:
        error: what was raised.
        is_proxied: as for `exit_code_for`.
        is_idempotent: whether the request may be sent twice without harm.
    """
    error = leaf_of(error)
    code = exit_code_for(error, is_proxied=is_proxied)
    text = error.message if isinstance(error, errors.Error) else str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        text = f"the output cannot be written: {error.strerror}{where}"
    if code is ExitCode.BUG:
        kind = type(error).__name__
        text = f"haclient itself failed: {kind}: {text or kind}; please report it"
    if code is ExitCode.INTERRUPTED:
        text = "interrupted"
    line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    remedy = _remedy(error, code, is_idempotent) if isinstance(error, errors.Error) else ""
    return f"haclient: ({int(code)}) {line}" + (f". {remedy}" if remedy else "")


def _remedy(error: errors.Error, code: ExitCode, is_idempotent: bool) -> str:
    match error:
        case errors.UrlError() | errors.ConnectTimeoutError() | errors.ProxyError():
            return error.remedy  # their own, or within their message
        case errors.Error() if error.may_have_been_processed and not is_idempotent:
            is_late = isinstance(error, errors.DeadlineError | errors.ResponseTimeoutError)
            return _IN_DOUBT + ("allow it more with -m" if is_late else _RESENT)
        case errors.ResolveError() if error.remedy and code is ExitCode.HOST_NOT_RESOLVED:
            return f"{error.remedy}, or give its address with --resolve"
        case _:
            return _REMEDIES.get(code, error.remedy)
