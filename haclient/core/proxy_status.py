"""Proxy-Status (RFC 9209): what haclient did with a request, for programs on the way.

The field is a structured one (RFC 8941): tokens and quoted strings of printable ASCII with two
characters escaped. Details come from the system, from certificates and from servers, so the naive
f-string would one day write a line end, or a quote that ends the string early; what cannot stand
there becomes "?" here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from haclient.types import AttemptRecord

__all__ = ["MAX_DETAILS", "describe_attempts", "details_of", "proxy_status"]

MAX_DETAILS = 400
"""Characters. Clients bound a whole head, some to 8 KiB; the answer's content says the rest."""

_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
"""RFC 8941, section 3.3.4."""

_PARAMETER = re.compile(rb';\s*([a-z*][a-z0-9_.*-]*)="((?:\\["\\]|[ !#-\[\]-~])*)"')
"""One with a string for a value (RFC 8941, section 3.3.3); a whole one, so that nothing in it is taken for another."""

_UNFIT = re.compile(r"[^ -~]")
_ESCAPED = re.compile(r'(["\\])')


def proxy_status(
    name: str = "haclient",
    *,
    error: str = "",
    next_hop: str = "",
    details: str = "",
    received_status: int | None = None,
) -> bytes:
    """The field's value; what is empty or None is left out.

    Args:
        name: who says it.
        error: one of the types of RFC 9209, section 2.3.
        next_hop: the address and port that was talked to.
        details: for a person; cut after 400 characters.
        received_status: what the next hop answered.
    """
    parts = [_token_or_string(name)]
    if error:
        parts.append(f"error={_token_or_string(error)}")
    if next_hop:
        parts.append(f"next-hop={_string(next_hop)}")
    if received_status is not None:
        parts.append(f"received-status={received_status}")
    if details:
        parts.append(f"details={_string(_cut(details))}")
    return "; ".join(parts).encode("ascii")


def describe_attempts(records: Iterable[AttemptRecord]) -> str:
    """All attempts in one line, the first ones in full where there is not room for all."""
    told = [f"{record.number}. {record.describe()}" for record in records]
    room = len(told)
    while room > 1 and len(_joined(told, room)) > MAX_DETAILS:
        room -= 1
    return _cut(_joined(told, room))


def details_of(value: bytes) -> str:
    """What another intermediary's field gives for a person: of the one nearest to the origin, which stands first."""
    for name, text in _PARAMETER.findall(value):
        if name == b"details":
            return _cut(re.sub(r"\\(.)", r"\1", text.decode("ascii")))
    return ""


def _joined(told: list[str], room: int) -> str:
    more = len(told) - room
    return "; ".join([*told[:room], *([f"and {more} more"] if more else [])])


def _cut(text: str) -> str:
    return text if len(text) <= MAX_DETAILS else text[: MAX_DETAILS - 3] + "..."


def _token_or_string(text: str) -> str:
    return text if _TOKEN.fullmatch(text) else _string(text)


def _string(text: str) -> str:
    return '"' + _ESCAPED.sub(r"\\\1", _UNFIT.sub("?", text)) + '"'
