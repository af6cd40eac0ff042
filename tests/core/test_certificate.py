"""How long certificates are valid: as OpenSSL reads them, and when somebody is told."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.certificate import lacks_key, trouble, validities

CA = trustme.CA()
DAY = 86400.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def pem(begin: datetime, end: datetime) -> bytes:
    leaf = CA.issue_cert("door.test", not_before=begin, not_after=end)
    return leaf.cert_chain_pems[0].bytes()


def lasting(days: float) -> bytes:
    return pem(BEGIN, BEGIN + timedelta(days=days))


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2000, 2, 29, tzinfo=UTC)),
        (datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), datetime(2049, 12, 31, tzinfo=UTC)),
        (datetime(1951, 3, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)),
        (datetime(2100, 2, 28, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_the_dates_are_those_of_the_file(begin: datetime, end: datetime) -> None:
    (found,) = validities(pem(begin, end))
    assert (found.begin.at, found.end.at) == (begin.timestamp(), end.timestamp())
    assert (found.begin.day, found.end.day) == (f"{begin:%Y-%m-%d}", f"{end:%Y-%m-%d}")


@pytest.mark.parametrize(
    ("life", "left", "words"),
    [
        (365, 15, ""),
        (365, 13, "it expires on 2027-01-01; renew it"),
        (3650, 15, ""),
        (60, 11, ""),
        (60, 9, "it expires on 2026-03-02; renew it"),
        (6, 1.1, ""),
        (6, 0.9, "it expires on 2026-01-07; renew it"),
        (6, -0.1, "it expired on 2026-01-07, and nobody accepts it any more; renew it"),
        (6, 6.1, "it is not valid before 2026-01-01, and nobody accepts it until then"),
        (6, 6, ""),
    ],
)
def test_what_is_told_when(life: float, left: float, words: str) -> None:
    now = BEGIN.timestamp() + (life - left) * DAY
    assert trouble(lasting(life), now) == words


def test_those_between_it_and_its_authority_count_too() -> None:
    now = BEGIN.timestamp() + 7 * DAY
    assert trouble(lasting(60) + b"text between\n" + lasting(6), now) == (
        "certificate 2 in it expired on 2026-01-07, and nobody accepts it any more; renew it"
    )


def element(tag: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


def made(begin: tuple[int, bytes], end: tuple[int, bytes]) -> bytes:
    """As of version 1, which is not written."""
    validity = element(0x30, element(*begin) + element(*end))
    fields = element(2, b"\1") + element(0x30, b"") + element(0x30, b"") + validity
    der = element(0x30, element(0x30, fields))
    return b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n" % base64.b64encode(der)


def test_a_certificate_of_version_1() -> None:
    (found,) = validities(made((0x17, b"260101000000Z"), (0x18, b"20500102000000Z")))
    assert (found.begin.day, found.end.day) == ("2026-01-01", "2050-01-02")


@pytest.mark.parametrize("end", [(0x17, b"2601010000Z"), (0x0C, b"20500102000000Z"), (0x18, b"")])
def test_no_date_gives_no_warning(end: tuple[int, bytes]) -> None:
    file = made((0x17, b"260101000000Z"), end)
    assert list(validities(file)) == []
    assert trouble(file, 0.0) == ""


@given(at=st.integers(0), junk=st.binary(max_size=3))
def test_what_is_spoilt_raises_nothing(at: int, junk: bytes) -> None:
    der = base64.b64decode(b"".join(FINE.splitlines()[1:-1]))
    at %= len(der)
    spoilt = base64.b64encode(der[:at] + junk + der[at + 1 :])
    for body in (spoilt, spoilt[:-1]):
        text = b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n" % body
        assert len(list(validities(text))) <= 1


FINE = lasting(365)


@pytest.mark.parametrize(
    ("pem", "lacks"),
    [
        (CA.issue_cert("a.test").cert_chain_pems[0].bytes(), True),
        (CA.issue_cert("a.test").private_key_pem.bytes(), False),
        (CA.issue_cert("a.test").private_key_and_cert_chain_pem.bytes(), False),
        (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", False),
        (b"no PEM at all", False),
        (b"", False),
    ],
)
def test_a_file_in_which_there_is_no_key(pem: bytes, lacks: bool) -> None:
    """What is no PEM is told by OpenSSL."""
    assert lacks_key(pem) is lacks
