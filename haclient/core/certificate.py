"""How long certificates are valid, and whether somebody should be told.

A certificate that runs out takes a door with it: every client turns away at the same second, and nothing was
changed that day. The ssl module of Python gives the dates of a peer's certificate alone; those of one's own are in the
file, in DER within PEM (RFC 5280, section 4.1; RFC 7468), and of that no more is read here than it takes to
get at two dates. OpenSSL has judged the rest when it loaded the file.

When to tell: certbot and its like renew when a third of a certificate's life is left. Who has less than half of
that has missed several turns; but two weeks are enough for a person, also where the life is ten years.

Left out: whose it is, and whether anybody trusts it. A file in which no date can be found gives no warning.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

import msgspec

__all__ = ["NO_KEY", "Validity", "lacks_key", "trouble", "validities"]

NO_KEY = "there is no private key in it; write key_file with the path of the one that has it"

SHARE_LEFT, MOST_LEFT = 1 / 6, 14 * 86400.0
"""Of its life, and in seconds; see above."""

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")
_TIME = re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z")

VERSION, UTC_TIME, GENERALIZED_TIME = 0xA0, 0x17, 0x18
"""Tags (ITU-T X.690)."""

Element = tuple[int, bytes]
"""Tag and content."""


class Moment(msgspec.Struct, frozen=True):
    """One end of a validity: Unix time, and the day for a person (UTC)."""

    at: float
    day: str


class Validity(msgspec.Struct, frozen=True):
    """From when to when."""

    begin: Moment
    end: Moment


def lacks_key(pem: bytes) -> bool:
    """Whether a file of certificates was named where a key is wanted: OpenSSL says "PEM lib" to that."""
    return b"-----BEGIN " in pem and b"PRIVATE KEY-----" not in pem


def trouble(pem: bytes, now: float) -> str:
    """What is to be said of the first certificate in a file that is not valid now, or not for long.

    Args:
        pem: what the file holds.
        now: Unix time.
    """
    for number, one in enumerate(validities(pem), 1):
        which = "it" if number == 1 else f"certificate {number} in it"
        if now < one.begin.at:
            return f"{which} is not valid before {one.begin.day}, and nobody accepts it until then"
        left = one.end.at - now
        if left < 0:
            return f"{which} expired on {one.end.day}, and nobody accepts it any more; renew it"
        if left < min(MOST_LEFT, SHARE_LEFT * (one.end.at - one.begin.at)):
            return f"{which} expires on {one.end.day}; renew it"
    return ""


def validities(pem: bytes) -> Iterator[Validity]:
    """Of each certificate in a file, as far as it can be read."""
    for found in _PEM.finditer(pem):
        try:
            yield _validity(binascii.a2b_base64(found[1]))
        except (ValueError, IndexError):
            continue


def _validity(der: bytes) -> Validity:
    """Raises ValueError or IndexError where there is none."""
    certificate = _elements(der)[0][1]
    fields = _elements(_elements(certificate)[0][1])
    # serialNumber, signature, issuer, validity; the version may stand before them.
    begin, end = _elements(fields[4 if fields[0][0] == VERSION else 3][1])
    return Validity(_moment(begin), _moment(end))


def _elements(der: bytes) -> list[Element]:
    """What a constructed value consists of."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _moment(element: Element) -> Moment:
    tag, text = element
    if tag == UTC_TIME:  # two digits for the year: 1950 to 2049
        text = (b"19" if text[:2] >= b"50" else b"20") + text
    found = _TIME.fullmatch(text)
    if found is None or tag not in (UTC_TIME, GENERALIZED_TIME):
        raise ValueError("no time")
    year, month, day, hour, minute, second = map(int, found.groups())
    seconds = 3600 * hour + 60 * minute + second
    return Moment(86400.0 * _days(year, month, day) + seconds, f"{year}-{month:02}-{day:02}")


def _days(year: int, month: int, day: int) -> int:
    """Since 1970, in the Gregorian calendar; counted from March on, so that a leap day is the last of its year."""
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    before = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5
    return before + day - 1 - 719468
