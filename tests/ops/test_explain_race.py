"""Who would win, on a clock of paper; and what real addresses answer."""

from __future__ import annotations

import math
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from haclient.core.balance import Candidate
from haclient.core.race import RaceSettings
from haclient.core.spec import TlsSettings
from haclient.core.url import parse_url
from haclient.net.resolver import SystemResolver
from haclient.net.static_resolver import StaticResolver
from haclient.net.tls import make_context
from haclient.ops.explain_race import (
    Certificate,
    Tried,
    connect_to_all,
    read_certificate,
    resolve_all,
    who_wins,
)
from haclient.types import ConnectFailure, ConnectionAttempt, Endpoint, Origin

PLAIN = Origin("http", "orders.test", 80)
SECURE = Origin("https", "orders.test", 443)
AT_ONCE = RaceSettings()
STAGGERED = RaceSettings(connection_attempt_delay=0.25)


def tried(
    number: int,
    connects_in: float | None = None,
    usable_in: float | None = None,
    failure: ConnectFailure | None = None,
    fails_in: float = 0.001,
    origin: Origin = PLAIN,
) -> Tried:
    """An address that connected, or was usable, so many seconds after its start; or that failed."""
    ended = usable_in if usable_in is not None else fails_in
    attempt = ConnectionAttempt(
        Endpoint(f"10.0.0.{number}", origin.port),
        7.0,
        7.0 + ended,
        7.0 + connects_in if connects_in is not None else None,
        7.0 + usable_in if usable_in is not None else None,
        failure,
    )
    return Tried(origin, attempt.endpoint, attempt)


def plain(number: int, connects_in: float) -> Tried:
    return tried(number, connects_in, connects_in)


def secure(number: int, connects_in: float, usable_in: float) -> Tried:
    return tried(number, connects_in, usable_in, origin=SECURE)


REFUSED = tried(8, failure=ConnectFailure.REFUSED)
TIMED_OUT = tried(9, failure=ConnectFailure.TIMED_OUT, fails_in=1.0)

RACES: dict[str, tuple[list[Tried], RaceSettings, int | None]] = {
    "the fastest": ([plain(1, 0.03), plain(2, 0.01), plain(3, 0.02)], AT_ONCE, 1),
    "the fastest that is not refused": ([REFUSED, plain(1, 0.02)], AT_ONCE, 1),
    "the first that is listed, within the delay": (
        [plain(1, 0.2), plain(2, 0.01)],
        STAGGERED,
        0,
    ),
    "the second one listed, if the first takes longer than the delay": (
        [plain(1, 0.3), plain(2, 0.01)],
        STAGGERED,
        1,
    ),
    "a failure starts the next one at once": (
        [REFUSED, plain(1, 0.2), plain(2, 0.01)],
        STAGGERED,
        1,
    ),
    "one that nobody answered for costs the delay only": (
        [TIMED_OUT, plain(1, 0.01)],
        STAGGERED,
        1,
    ),
    "with TLS the first to connect, if its handshake is no slower than the delay": (
        [secure(1, 0.01, 0.2), secure(2, 0.02, 0.03)],
        AT_ONCE,
        0,
    ),
    "with TLS another one, if the handshake of the first lasts": (
        [secure(1, 0.01, 0.9), secure(2, 0.02, 0.03)],
        AT_ONCE,
        1,
    ),
    "with TLS another one, if the certificate of the first is bad": (
        [
            tried(1, 0.01, None, ConnectFailure.CERTIFICATE, 0.02, SECURE),
            secure(2, 0.05, 0.06),
        ],
        AT_ONCE,
        1,
    ),
    "with TLS another one, if the handshake of the first never ends": (
        [tried(1, 0.01, None, ConnectFailure.TIMED_OUT, 1.01, SECURE), secure(2, 0.02, 0.5)],
        AT_ONCE,
        1,
    ),
    "nobody, if all fail": ([REFUSED, TIMED_OUT], AT_ONCE, None),
    "nobody, if there is nobody": ([], AT_ONCE, None),
}


@pytest.mark.parametrize(("field", "settings", "winner"), RACES.values(), ids=RACES)
def test_who_wins(field: list[Tried], settings: RaceSettings, winner: int | None) -> None:
    assert who_wins(field, settings) is (None if winner is None else field[winner])


def test_a_certificate_counts_its_days() -> None:
    expires_at = datetime.now(UTC) + timedelta(days=12, hours=1)
    assert Certificate("a", "b", expires_at).days_left == 12


NOT_AFTER = {"notAfter": "Jan  5 09:34:43 2018 GMT"}

CERTIFICATES = {
    "a common name": (
        {
            "subject": ((("countryName", "DE"),), (("commonName", "orders.test"),)),
            "issuer": ((("organizationName", "O"),), (("commonName", "CN"),)),
        },
        ("orders.test", "CN"),
    ),
    "an empty subject: the names that it is valid for": (
        {
            "subject": (),
            "subjectAltName": (("DNS", "a.test"), ("DNS", "b.test")),
            "issuer": ((("organizationName", "O"),),),
        },
        ("a.test, b.test", "O"),
    ),
    "nothing at all": ({}, ("no name", "no name")),
}


@pytest.mark.parametrize(("shown", "names"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_whom_a_certificate_is_for(shown: dict[str, Any], names: tuple[str, str]) -> None:
    certificate = read_certificate(NOT_AFTER | shown)
    assert (certificate.subject, certificate.issuer) == names
    assert certificate.expires_at == datetime(2018, 1, 5, 9, 34, 43, tzinfo=UTC)


# --- real addresses ------------------------------------------------------------------------------


@contextmanager
def listening() -> Iterator[Endpoint]:
    """The kernel connects; nobody needs to accept."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield Endpoint(*listener.getsockname())


def closed_port() -> Endpoint:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return Endpoint(*unused.getsockname())


@contextmanager
def tls_server(ca: trustme.CA, *names: str) -> Iterator[Endpoint]:
    """Shakes hands with whoever comes, one after the other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(peer, server_side=True) as shaken:
                    shaken.recv(1)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield Endpoint(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


async def test_each_address_has_its_time_or_its_failure() -> None:
    with listening() as first, listening() as second:
        candidates = [Candidate(PLAIN, one) for one in (first, closed_port(), second)]
        found = await connect_to_all(candidates, {}, 1.0)
    assert [one.endpoint for one in found] == [one.endpoint for one in candidates]
    assert [one.is_usable for one in found] == [True, False, True]
    assert found[1].attempt.failure is ConnectFailure.REFUSED
    assert 0 < (found[0].connect_time or math.inf) < 1.0
    assert found[0].rtt > 0
    assert found[0].certificate is None


async def test_tls_shows_its_version_and_certificate(tmp_path: Path) -> None:
    ca = trustme.CA(organization_name="Test authority")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = make_context(TlsSettings(ca_file=str(tmp_path / "ca.pem")))
    with tls_server(ca, SECURE.host) as endpoint:
        (one,) = await connect_to_all([Candidate(SECURE, endpoint)], {SECURE: context}, 2.0)
    assert one.is_usable
    assert one.tls.startswith("TLSv1.3 ")
    assert one.connect_time is not None
    assert one.connect_time < one.total_time
    assert one.certificate is not None
    assert one.certificate.issuer == "Test authority"
    assert one.certificate.days_left > 0


async def test_a_certificate_for_another_name_is_no_connection(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = make_context(TlsSettings(ca_file=str(tmp_path / "ca.pem")))
    with tls_server(ca, "another.test") as endpoint:
        (one,) = await connect_to_all([Candidate(SECURE, endpoint)], {SECURE: context}, 2.0)
    assert one.attempt.failure is ConnectFailure.CERTIFICATE
    assert "orders.test" in one.attempt.detail


async def test_a_certificate_that_is_not_verified_is_not_taken_apart() -> None:
    context = make_context(TlsSettings(verify=False))
    with tls_server(trustme.CA(), "another.test") as endpoint:
        (one,) = await connect_to_all([Candidate(SECURE, endpoint)], {SECURE: context}, 2.0)
    assert one.is_usable
    assert one.certificate is None


async def test_urls_and_backups_are_resolved_in_their_order() -> None:
    resolver = StaticResolver(
        {("orders.test", 80): (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80))},
        SystemResolver(nameservers=["127.0.0.1:1"]),
    )
    names = await resolve_all(
        [parse_url("http://orders.test/")], [parse_url("http://127.0.0.9/")], resolver
    )
    assert [name.is_backup for name in names] == [False, True]
    assert [len(name.endpoints) for name in names] == [2, 1]
    assert names[0].resolution is not None
    assert names[0].resolution.source == "static"


async def test_a_name_that_is_none_has_its_error(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    resolver = SystemResolver(
        resolv_conf_path=str(tmp_path / "resolv.conf"), nameservers=["127.0.0.1:1"]
    )
    (name,) = await resolve_all([parse_url("http://nobody.test/")], [], resolver)
    assert name.endpoints == ()
    assert name.error is not None
