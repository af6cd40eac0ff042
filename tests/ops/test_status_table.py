"""The page of `haclient status`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from haclient.ops.status_report import DestinationReport, EndpointReport, StatusReport, TargetReport
from haclient.ops.status_table import page, span
from haclient.ops.style import Style
from tests.support.reports import REPORT

PLAIN = Style(is_coloured=False, is_unicode=True)
COLOURED = Style(is_coloured=True, is_unicode=True)

PAGE = """\
haclient 0.2.0, pid 4711: running for 3 h 12 min
/etc/haclient/haclient.toml, loaded 2 times
3 outstanding; 1.2 MiB kept for resends

listeners
  orders  127.0.0.1:8080              12 of 4096 connections  3 outstanding  18233 requests
  db      unix:/run/haclient/db.sock  64 of 64 connections    0 outstanding  0 requests  accepting is paused

target orders  18233 requests, 3 outstanding, 2 failovers, 4 resent, budget 98 %
  ✔ 10.0.0.2:8080  http://orders.internal:8080           ok                            2 in use, 3 idle  dns 10.0.0.53
  ✘ 10.0.0.3:8080  http://orders.internal:8080           held down, asked again in 4.2 s, 3 failures  0 in use, 0 idle  dns 10.0.0.53
  ? 10.1.0.2:8080  http://orders.internal:8080 (backup)  suspect, 1 failure            0 in use, 0 idle

target db  0 requests, 0 outstanding, 0 failovers, 0 resent, budget 10 %
  no address is known yet

last failovers
  t1  orders  GET /v1/orders/7  10.0.0.3:8080 → 10.0.0.2:8080  2.51 s  dead (3 keep-alive probes unanswered)
  t2  orders  PUT /x            10.0.0.3:8080 → none           0.00 s  refused

names
  orders.internal  10.0.0.2, 10.0.0.3  dns  TTL 17 s
  db.internal      no address               TTL -5 s  stale  no name server answered
"""


def clock(at: float) -> str:
    return f"t{at:.0f}"


def squeezed(text: str) -> list[str]:
    """Lines whose columns may be of any width."""
    return ["  ".join(line.split("  ")).rstrip() for line in text.splitlines()]


def test_the_whole_page() -> None:
    found = page(REPORT, PLAIN, clock=clock)

    assert [" ".join(line.split()) for line in found] == [
        " ".join(line.split()) for line in PAGE.splitlines()
    ]


def test_columns_stand_below_each_other() -> None:
    lines = [line for line in page(REPORT, PLAIN) if "in use" in line]

    assert len({line.index(" in use") for line in lines}) == 1
    assert len({line.index("http://") for line in lines}) == 1


def test_colours_change_no_text() -> None:
    import re

    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in page(REPORT, COLOURED, clock=clock)]

    assert plain == page(REPORT, PLAIN, clock=clock)


def test_what_deviates_is_coloured() -> None:
    lines = page(REPORT, COLOURED)
    (ok,) = [line for line in lines if "10.0.0.2:8080  " in line and "in use" in line]
    (down,) = [line for line in lines if "held down" in line]

    assert "\x1b[31m10.0.0.3:8080" in down
    assert "\x1b[1;32m✔\x1b[0m 10.0.0.2:8080" in ok
    assert any("\x1b[31mbudget 10 %" in line for line in lines)
    assert not any("\x1b[31mbudget 98 %" in line for line in lines)


def test_rates() -> None:
    lines = page(REPORT, PLAIN, {"orders": 49.6})

    assert any(line.startswith("target orders  18233 requests, 50/s, ") for line in lines)
    assert any(line.startswith("target db  0 requests, 0/s, ") for line in lines)


def test_a_daemon_that_has_just_begun() -> None:
    report = StatusReport(
        version="1",
        pid=1,
        state="draining",
        started_at=0.0,
        uptime=0.2,
        config_file="a.toml",
        generation=1,
    )

    assert page(report, PLAIN) == [
        "haclient 1, pid 1: running for 0 s, draining",
        "a.toml",
        "0 outstanding",
    ]
    assert page(report, COLOURED)[0].endswith(", \x1b[1;33mdraining\x1b[0m")


EVIL = "x\x1b[2J\n\u202e"


def evil(value: Any) -> Any:
    """The report with every text replaced."""
    match value:
        case str():
            return EVIL
        case dict():
            return {key: evil(one) for key, one in value.items()}
        case list() | tuple():
            return [evil(one) for one in value]
        case _:
            return value


def test_no_text_of_another_rules_the_terminal() -> None:
    report = msgspec.convert(evil(msgspec.to_builtins(REPORT)), StatusReport)

    assert all(line.isprintable() for line in page(report, PLAIN))


def test_the_time_here() -> None:
    (line,) = [line for line in page(REPORT, PLAIN) if "PUT /x" in line]

    hours, minutes, seconds = line.split()[0].split(":")
    assert (len(hours), int(minutes) % 15, seconds) == (2, 0, "02")  # in any time zone


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (725.9, "12 min 5 s"),
        (3600, "1 h 0 min"),
        (15_130, "4 h 12 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_span(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1 byte"), (2, "2 bytes"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")],
)
def test_a_size(count: int, text: str) -> None:
    line = page(msgspec.structs.replace(REPORT, replay_bytes=count), PLAIN)[2]

    assert line == f"3 outstanding; {text} kept for resends"


def test_one_of_each() -> None:
    target = TargetReport(
        name="a",
        requests=1,
        failovers=1,
        endpoints=(
            EndpointReport(address="127.0.0.1:9", origin="http://a"),
            EndpointReport(address="127.0.0.2:9", origin="http://a", state="failed", failures=1),
        ),
    )
    report = msgspec.structs.replace(REPORT, targets=(target,))
    lines = page(report, PLAIN)

    assert "target a  1 request, 0 outstanding, 1 failover, 0 resent, budget 100 %" in lines
    untried, failed = [
        line.split("  ") for line in lines if "127.0.0." in line and "in use" in line
    ]
    assert (untried[1], untried[3].strip()) == ("? 127.0.0.1:9", "untried")
    assert (failed[1], failed[3].strip()) == ("✘ 127.0.0.2:9", "failed, 1 failure")


def test_destinations_in_trouble() -> None:
    """Of a hundred that are well nobody wants to read."""

    def destination(name: str, *states: str) -> DestinationReport:
        endpoints = tuple(
            EndpointReport(address=f"10.0.0.{number}:80", origin=f"http://{name}", state=state)
            for number, state in enumerate(states)
        )
        return DestinationReport(listener="proxy", origin=f"http://{name}", endpoints=endpoints)

    kept = (destination("a", "ok", "untried"), destination("b", "ok", "held down"))
    lines = page(msgspec.structs.replace(REPORT, destinations=kept), PLAIN)
    at = lines.index("destinations of proxy  2 kept, 1 with an address in trouble")
    assert [" ".join(line.split()) for line in lines[at - 1 : at + 4]] == [
        "",
        "destinations of proxy 2 kept, 1 with an address in trouble",
        "✔ 10.0.0.0:80 http://b ok 0 in use, 0 idle",
        "✘ 10.0.0.1:80 http://b held down 0 in use, 0 idle",
        "",
    ]


def test_who_failed_and_is_in_use_has_not_answered_yet() -> None:
    endpoint = EndpointReport(address="a", origin="o", state="failed", failures=1, leased=1)
    report = msgspec.structs.replace(
        REPORT, targets=(TargetReport(name="a", endpoints=(endpoint,)),)
    )
    assert "  ✘ a  o  failed, 1 failure, no answer since  1 in use, 0 idle" in page(report, PLAIN)
