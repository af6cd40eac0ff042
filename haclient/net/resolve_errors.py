"""From a lookup that found nothing to the error that its caller gets."""

from __future__ import annotations

from haclient import errors
from haclient.core.lookup import NotFound, Reason
from haclient.types import Phase

__all__ = ["resolve_error"]

_ERRORS: dict[Reason, tuple[type[errors.ResolveError], str]] = {
    Reason.NO_SUCH_NAME: (
        errors.NameNotFoundError,
        "Check the spelling; if the name is right, add it to DNS or to {hosts}",
    ),
    Reason.NO_ADDRESS: (
        errors.NoAddressError,
        "Add an A or AAAA record, or ask for the host that offers the service",
    ),
    Reason.SERVER_FAILURE: (
        errors.NameServerError,
        "See what the name server logs, or name another one in {nameservers}",
    ),
    Reason.REFUSED: (
        errors.NameRefusedError,
        "Let the name server serve this machine, or name another one in {nameservers}",
    ),
    Reason.TIMED_OUT: (
        errors.NameTimeoutError,
        "Check that the name server can be reached on UDP and TCP, or name another one in "
        "{nameservers}",
    ),
}


def resolve_error(
    host: str, outcome: NotFound, remembered_for: float | None, places: tuple[str, str]
) -> errors.ResolveError:
    """Says what was asked of whom, and what to do.

    Args:
        host: as the caller wrote it.
        outcome: of the lookup.
        remembered_for: seconds for which a denial from the cache holds still; None for one of now.
        places: where hosts are named, and where name servers are: the advice may be to go there.
    """
    kind, advice = _ERRORS[outcome.reason]
    hosts, nameservers = places
    advice = advice.format(hosts=hosts, nameservers=nameservers)
    remembered = (
        "" if remembered_for is None else f"; remembered for another {remembered_for:.0f} s"
    )
    return kind(
        f"cannot resolve {host}: {outcome}{remembered}", stage=Phase.RESOLVING, remedy=advice
    )
