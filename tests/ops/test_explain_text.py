"""What the explanation looks like, for a person and for a program."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from haclient.core.keepalive import Plan
from haclient.core.spec import Target
from haclient.core.url import parse_url
from haclient.errors import NameNotFoundError
from haclient.net import Resolution
from haclient.ops.explain_race import Certificate, Name, Tried
from haclient.ops.explain_resend import resends
from haclient.ops.explain_text import Explanation, as_json, lines
from haclient.ops.style import Style
from haclient.types import ConnectFailure, ConnectionAttempt, Endpoint, Order, Origin

ORIGIN = Origin("https", "orders.test", 443)
URL = parse_url("https://orders.test/")
TARGET = Target(urls=URL, backups="http://backup.test:8080/")
A, B = Endpoint("10.0.0.1", 443), Endpoint("10.0.0.2", 443)
PLAIN = Style()

CERTIFICATE = Certificate(
    "orders.test", "An authority", datetime.now(UTC) + timedelta(days=60, hours=1)
)
USABLE = Tried(
    ORIGIN,
    A,
    ConnectionAttempt(A, 0.0, 0.004, 0.001, 0.004),
    "TLSv1.3 TLS_AES_256_GCM_SHA384",
    CERTIFICATE,
    rtt=0.001,
    rttvar=0.0005,
)
REFUSED = Tried(
    ORIGIN,
    B,
    ConnectionAttempt(
        B, 0.0, 0.0005, failure=ConnectFailure.REFUSED, detail="Connection\x1brefused"
    ),
)
NAMES = (
    Name(URL, False, 0.012, Resolution("orders.test", (A, B), "dns", 30.0, "10.0.0.53")),
    Name(
        parse_url("http://backup.test:8080/"), True, 0.02, error=NameNotFoundError("no such name")
    ),
)


def explanation(**changes: object) -> Explanation:
    found = Explanation(
        TARGET,
        NAMES,
        (USABLE, REFUSED),
        USABLE,
        Plan.for_window(4.0, 1.0),
        0.001,
        resends(TARGET, is_elsewhere=True),
    )
    return msgspec.structs.replace(found, **changes)


def text(found: Explanation) -> list[str]:
    return list(lines(found, PLAIN))


def test_the_whole_page() -> None:
    until = f"{CERTIFICATE.expires_at:%Y-%m-%d}"
    page = text(explanation())
    assert page[: page.index("plan  round trip 1 ms")] == [
        "addresses",
        "  ✔ https://orders.test is 10.0.0.1, 10.0.0.2 (dns 10.0.0.53, TTL 30 s, 12 ms)",
        "  ✘ http://backup.test:8080 (backup): no such name",
        "",
        "race  order fastest: all at once, the first to be usable serves",
        "  ✔ 10.0.0.1:443  connected in 1 ms, TLS after 4 ms: TLSv1.3 TLS_AES_256_GCM_SHA384"
        "  would serve",
        f"    certificate orders.test, by An authority, until {until} (60 days)",
        "  ✘ 10.0.0.2:443  refused after 0.5 ms (Connection\\x1brefused)",
        "",
    ]
    assert (
        "  ✔ window 4 s, connect_timeout 1 s: kept, worst case 3.5 s; one exception, 4.36 s" in page
    )
    table = page[page.index("resend  2 addresses") :]
    assert table[1:4] == [
        "                             not sent  suspect  dead  closed  503  too slow",
        "  GET                        yes       yes      yes   yes     yes  yes",
        "  HEAD                       yes       yes      yes   yes     yes  yes",
    ]
    assert "  POST                       yes       no       no    no      no   no" in table
    assert table[-2:] == ["  no: POST is not idempotent", "  no: PATCH is not idempotent"]


def test_a_window_that_cannot_be_kept_names_the_smallest_that_can() -> None:
    page = text(explanation(plan=Plan.for_window(2.0, 1.0)))
    (refusal,) = (line for line in page if "cannot be kept" in line)
    assert refusal.startswith("  ✘ a window of 2 s")
    assert refusal.endswith("the smallest is 3.5 s")


def test_with_nobody_usable_it_says_so_and_knows_no_round_trip() -> None:
    page = text(explanation(tried=(REFUSED,), winner=None, rtt=0.0))
    assert "  ✘ no address would serve" in page
    assert "plan" in page
    assert "resend  nobody else to ask: name a --backup" in page
    (note,) = (line for line in page if "with one address" in line)
    assert "once dead, it is asked again over a new connection" in note
    assert not any("with one address" in line for line in text(explanation()))


@pytest.mark.parametrize("order", Order)
def test_the_order_is_explained(order: Order) -> None:
    target = Target(urls=URL, order=order)
    (line,) = (one for one in text(explanation(target=target)) if one.startswith("race"))
    assert line.startswith(f"race  order {order.value}: ")


def test_a_proxy_of_the_environment_is_pointed_out() -> None:
    *_, last = text(explanation(proxy="http://proxy.test:3128"))
    assert last.startswith("  ! the environment names a proxy, http://proxy.test:3128:")


def test_a_certificate_that_expires_soon_is_yellow() -> None:
    soon = Certificate("a", "b", datetime.now(UTC) + timedelta(days=3))
    found = explanation(tried=(msgspec.structs.replace(USABLE, certificate=soon),))
    page = list(lines(found, Style(is_coloured=True)))
    assert any("\x1b[33m" in line and "certificate a" in line for line in page)


def test_a_target_without_failover_statuses_has_none_to_name() -> None:
    target = Target(urls=URL, failover_statuses=())
    assert "  503: the answer was one of none" in text(explanation(target=target))


def test_json() -> None:
    found = json.loads(json.dumps(as_json(explanation())))
    assert found["serves"] == "10.0.0.1:443"
    assert found["names"][0] == {
        "origin": "https://orders.test",
        "backup": False,
        "addresses": ["10.0.0.1", "10.0.0.2"],
        "source": "dns",
        "server": "10.0.0.53",
        "ttl": 30.0,
        "error": None,
    }
    assert found["names"][1]["error"] == "no such name"
    assert found["race"][0] | {"certificate": None} == {
        "address": "10.0.0.1:443",
        "origin": "https://orders.test",
        "connected_in": 0.001,
        "usable_in": 0.004,
        "failure": None,
        "detail": "",
        "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
        "certificate": None,
    }
    assert found["race"][0]["certificate"]["subject"] == "orders.test"
    assert found["race"][1]["failure"] == "refused"
    assert found["race"][1]["usable_in"] is None
    assert found["plan"]["kept"] is True
    assert found["plan"]["phases"]["silent"] == {"suspect": 1.1, "dead": 2.5, "resent": 3.5}
    assert found["resend"]["PUT"]["suspect"] is False
    assert found["resend"]["POST with Idempotency-Key"]["dead"] is True


def test_json_of_a_refusal_and_of_nobody() -> None:
    found = as_json(explanation(plan=Plan.for_window(2.0, 1.0), winner=None))
    assert found["serves"] is None
    assert (found["plan"]["kept"], found["plan"]["smallest"]) == (False, 3.5)


def test_json_has_no_infinity() -> None:
    plan = Plan.for_window(4.0, 1.0, caps_window_probes=False)
    assert isinstance(plan, Plan)
    found = as_json(explanation(plan=plan))
    assert found["plan"]["phases"]["window_shut"]["dead"] is None
    assert not any(math.isinf(value) for value in found["plan"]["phases"]["silent"].values())
