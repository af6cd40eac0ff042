"""The admin endpoint's JSON: names that people script against."""

from __future__ import annotations

import msgspec

from haclient.ops.status_report import (
    EndpointReport,
    FailoverReport,
    ListenerReport,
    OrderReport,
    StatusReport,
    TargetReport,
)

REPORT = StatusReport(
    version="1.0",
    pid=7,
    state="running",
    started_at=1_764_244_800.5,
    uptime=3.5,
    config_file="/etc/haclient/haclient.toml",
    generation=1,
    listeners=(ListenerReport(name="orders", bind="127.0.0.1:8080", limit=4096),),
    targets=(
        TargetReport(
            name="orders",
            endpoints=(EndpointReport(address="10.0.0.2:8080", origin="http://o.internal:8080"),),
        ),
    ),
    last_failovers=(
        FailoverReport(
            at=1.5,
            target="orders",
            method="GET",
            path="/",
            source="10.0.0.2:8080",
            to="10.0.0.3:8080",
            verdict="dead",
        ),
    ),
)


def test_a_report_comes_back_as_it_was() -> None:
    assert msgspec.json.decode(msgspec.json.encode(REPORT), type=StatusReport) == REPORT


def test_the_names_in_json() -> None:
    told = msgspec.to_builtins(REPORT)

    assert list(told) == [
        *("version", "pid", "state", "started_at", "uptime", "config_file", "generation"),
        *("listeners", "targets", "outstanding", "replay_bytes", "last_failovers", "dns"),
        "destinations",
    ]
    assert told["last_failovers"][0]["from"] == "10.0.0.2:8080"
    assert told["targets"][0]["endpoints"][0] == {
        "address": "10.0.0.2:8080",
        "origin": "http://o.internal:8080",
        "tier": 0,
        "state": "untried",
        "held_for": None,
        "failures": 0,
        "idle": 0,
        "leased": 0,
        "health": "",
        "source": "",
    }


def test_an_order_that_was_refused() -> None:
    report = OrderReport(is_done=False, lines=("a.toml: x",), generation=3)

    assert msgspec.json.encode(report) == b'{"is_done":false,"lines":["a.toml: x"],"generation":3}'
