"""A report of a daemon to which everything happens at once."""

from __future__ import annotations

from haclient.ops.status_report import (
    DnsReport,
    EndpointReport,
    FailoverReport,
    ListenerReport,
    StatusReport,
    TargetReport,
)

__all__ = ["REPORT"]

ORIGIN = "http://orders.internal:8080"

REPORT = StatusReport(
    version="0.2.0",
    pid=4711,
    state="running",
    started_at=1_795_780_800.0,
    uptime=11_530.4,
    config_file="/etc/haclient/haclient.toml",
    generation=2,
    listeners=(
        ListenerReport(
            name="orders",
            bind="127.0.0.1:8080",
            connections=12,
            outstanding=3,
            requests=18_233,
            limit=4096,
        ),
        ListenerReport(
            name="db", bind="unix:/run/haclient/db.sock", connections=64, limit=64, is_paused=True
        ),
    ),
    targets=(
        TargetReport(
            name="orders",
            requests=18_233,
            failovers=2,
            outstanding=3,
            budget_remaining=0.98,
            resent=4,
            endpoints=(
                EndpointReport(
                    address="10.0.0.2:8080",
                    origin=ORIGIN,
                    state="ok",
                    idle=3,
                    leased=2,
                    source="dns 10.0.0.53",
                ),
                EndpointReport(
                    address="10.0.0.3:8080",
                    origin=ORIGIN,
                    state="held down",
                    held_for=4.23,
                    failures=3,
                    source="dns 10.0.0.53",
                ),
                EndpointReport(
                    address="10.1.0.2:8080", origin=ORIGIN, tier=1, state="suspect", failures=1
                ),
            ),
        ),
        TargetReport(name="db", budget_remaining=0.1),
    ),
    outstanding=3,
    replay_bytes=1_258_291,
    last_failovers=(
        FailoverReport(
            at=1.0,
            target="orders",
            method="GET",
            path="/v1/orders/7",
            source="10.0.0.3:8080",
            to="10.0.0.2:8080",
            verdict="dead",
            evidence="3 keep-alive probes unanswered",
            seconds=2.51,
        ),
        FailoverReport(
            at=2.0,
            target="orders",
            method="PUT",
            path="/x",
            source="10.0.0.3:8080",
            to="",
            verdict="refused",
        ),
    ),
    dns=(
        DnsReport(
            name="orders.internal", addresses=("10.0.0.2", "10.0.0.3"), source="dns", ttl=17.4
        ),
        DnsReport(name="db.internal", is_stale=True, ttl=-5.0, error="no name server answered"),
    ),
)
