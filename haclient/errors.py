"""One tree of errors; each answers the caller's next questions.

Whose fault was it, how far did the request come (`stage`), may a server have executed it
(`may_have_been_processed`), and what was tried (`attempts`). The class says what a program would
branch on; the message is for a person: what happened, to which address, in which phase, what to do.
"""

from __future__ import annotations

import enum

from haclient.types import AttemptRecord, Limit, Phase

__all__ = [
    "BadRequestError",
    "CertificateError",
    "ConnectError",
    "ConnectTimeoutError",
    "ContentError",
    "ContentTooLargeError",
    "DeadlineError",
    "Error",
    "ForbiddenAddressError",
    "LoopError",
    "NameNotFoundError",
    "NameRefusedError",
    "NameServerError",
    "NameTimeoutError",
    "NoAddressError",
    "ProtocolError",
    "ProxyCredentialsError",
    "ProxyError",
    "ProxyStatus",
    "QueueTimeoutError",
    "ResolveError",
    "ResponseIncompleteError",
    "ResponseTimeoutError",
    "ServerDiedError",
    "TlsError",
    "TooManyRedirectsError",
    "UnsupportedSchemeError",
    "UrlError",
]


class ProxyStatus(enum.Enum):
    """Error types of RFC 9209, section 2.3, each with the status that it recommends.

    But for a loop, where 502 is recommended: each hop of a circle would ask another server on that, and
    the one request become many. 508 (RFC 5842, section 7.2) is nobody's failover status.
    """

    def __init__(self, token: str, status: int) -> None:
        self.token = token
        self.status = status

    DNS_TIMEOUT = ("dns_timeout", 504)
    DNS_ERROR = ("dns_error", 502)
    DESTINATION_NOT_FOUND = ("destination_not_found", 500)
    DESTINATION_UNAVAILABLE = ("destination_unavailable", 503)
    DESTINATION_IP_PROHIBITED = ("destination_ip_prohibited", 502)
    DESTINATION_IP_UNROUTABLE = ("destination_ip_unroutable", 502)
    CONNECTION_REFUSED = ("connection_refused", 502)
    CONNECTION_TERMINATED = ("connection_terminated", 502)
    CONNECTION_TIMEOUT = ("connection_timeout", 504)
    CONNECTION_READ_TIMEOUT = ("connection_read_timeout", 504)
    CONNECTION_WRITE_TIMEOUT = ("connection_write_timeout", 504)
    CONNECTION_LIMIT_REACHED = ("connection_limit_reached", 503)
    TLS_PROTOCOL_ERROR = ("tls_protocol_error", 502)
    TLS_CERTIFICATE_ERROR = ("tls_certificate_error", 502)
    HTTP_REQUEST_ERROR = ("http_request_error", 400)
    HTTP_REQUEST_DENIED = ("http_request_denied", 403)
    HTTP_RESPONSE_INCOMPLETE = ("http_response_incomplete", 502)
    HTTP_RESPONSE_TIMEOUT = ("http_response_timeout", 504)
    HTTP_PROTOCOL_ERROR = ("http_protocol_error", 502)
    PROXY_CONFIGURATION_ERROR = ("proxy_configuration_error", 500)
    PROXY_LOOP_DETECTED = ("proxy_loop_detected", 508)
    PROXY_INTERNAL_ERROR = ("proxy_internal_error", 500)


class Error(Exception):
    """Whatever haclient raises.

    Attributes:
        stage: how far the last attempt came, or None where none was started.
        may_have_been_processed: False only where no byte of the request reached any server's
            connection. True means that nobody can know (RFC 9110, section 9.2.2).
        attempts: every attempt, in order, each with its result.
        message: what happened and where, without the remedy.
        remedy: what a person could do about it, a sentence; empty where there is nothing to say. It
            ends the text of the error.
        why_not_again: why nothing more was tried, where that was decided ("the window is over").
        limit: the one of ours (window, budget) for which nothing more was tried; None where it was not for that.
        proxy_status: the error type of RFC 9209.
    """

    proxy_status = ProxyStatus.PROXY_INTERNAL_ERROR
    why_not_again = ""
    limit: Limit | None = None

    def __init__(
        self,
        message: str,
        *,
        stage: Phase | None = None,
        may_have_been_processed: bool = False,
        attempts: tuple[AttemptRecord, ...] = (),
        remedy: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.stage = stage
        self.may_have_been_processed = may_have_been_processed
        self.attempts = attempts

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class BadRequestError(Error):
    """The request cannot be put on the wire as asked: a bad method, field or option."""

    proxy_status = ProxyStatus.HTTP_REQUEST_ERROR


class UrlError(BadRequestError):
    """The URL is malformed."""


class UnsupportedSchemeError(UrlError):
    """The URL's scheme is not one that haclient speaks."""


class ContentError(Error):
    """The request's content could not be read; the caller's own error is the `__cause__`."""

    proxy_status = ProxyStatus.HTTP_REQUEST_ERROR


class ResolveError(Error):
    """The name gave no address. The subclass says why; the message says who was asked."""

    proxy_status = ProxyStatus.DNS_ERROR


class NameNotFoundError(ResolveError):
    """A name server said that there is no such name (RCODE 3, RFC 1035, section 4.1.1)."""


class NoAddressError(ResolveError):
    """The name exists and has neither an A nor an AAAA record."""


class NameServerError(ResolveError):
    """Every name server failed (RCODE 2) or answered what could not be understood."""


class NameRefusedError(ResolveError):
    """Every name server refused to answer (RCODE 5)."""


class NameTimeoutError(ResolveError):
    """No name server answered in time."""

    proxy_status = ProxyStatus.DNS_TIMEOUT


class ForbiddenAddressError(ResolveError):
    """Of the name's addresses none may be dialled: the allow list of a forward listener says so."""

    proxy_status = ProxyStatus.DESTINATION_IP_PROHIBITED


class ConnectError(Error):
    """No address of any tier could be connected. Nothing was sent."""

    proxy_status = ProxyStatus.CONNECTION_REFUSED


class ConnectTimeoutError(ConnectError):
    """Nobody answered at any address within connect_timeout."""

    proxy_status = ProxyStatus.CONNECTION_TIMEOUT


class QueueTimeoutError(ConnectError):
    """Every address was at its limit of connections for longer than queue_timeout."""

    proxy_status = ProxyStatus.CONNECTION_LIMIT_REACHED


class LoopError(ConnectError):
    """Every address is this very process: one of its listeners, or its admin endpoint."""

    proxy_status = ProxyStatus.PROXY_LOOP_DETECTED


class ProxyError(ConnectError):
    """A forward proxy would not open the tunnel."""


class ProxyCredentialsError(ProxyError):
    """A forward proxy wants a user and a password, or others than it was given (407)."""


class TlsError(ConnectError):
    """TLS could not be agreed on with any address."""

    proxy_status = ProxyStatus.TLS_PROTOCOL_ERROR


class CertificateError(TlsError):
    """No address showed a certificate that is valid for the origin's name."""

    proxy_status = ProxyStatus.TLS_CERTIFICATE_ERROR


class ServerDiedError(Error):
    """The server closed the connection or was proved dead, and no other one could answer.

    With `may_have_been_processed` the request was not resent because it is not idempotent, and
    nobody can know whether it was executed.
    """

    proxy_status = ProxyStatus.CONNECTION_TERMINATED


class ResponseIncompleteError(ServerDiedError):
    """The response broke off in its content; what came before is not the whole."""

    proxy_status = ProxyStatus.HTTP_RESPONSE_INCOMPLETE


class ResponseTimeoutError(Error):
    """The server is alive and was silent for longer than response_timeout (the back-stop)."""

    proxy_status = ProxyStatus.HTTP_RESPONSE_TIMEOUT


class DeadlineError(Error):
    """The caller's own deadline for the whole exchange passed."""

    proxy_status = ProxyStatus.HTTP_RESPONSE_TIMEOUT


class ProtocolError(Error):
    """What the server sent is not a valid HTTP/1.1 response."""

    proxy_status = ProxyStatus.HTTP_PROTOCOL_ERROR


class ContentTooLargeError(Error):
    """A whole response was asked for and its content passed the limit; stream it instead."""


class TooManyRedirectsError(Error):
    """More redirects than allowed."""
