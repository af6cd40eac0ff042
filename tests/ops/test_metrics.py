"""What Prometheus reads, as its own parser understands it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from haclient.core.config import LogSettings, Mode
from haclient.core.health_check import Result
from haclient.core.spec import HealthRequests
from haclient.ops.log import Log
from haclient.ops.metrics import MEDIA_TYPE, Metrics
from haclient.types import Endpoint
from tests.support.loopback import eventually
from tests.support.origin import Behaviour, Origin
from tests.support.running import Running, asked, connected, running

PROMISED = {
    "haclient_requests": "counter",
    "haclient_tunnel_bytes": "counter",
    "haclient_attempts": "counter",
    "haclient_failover_duration_seconds": "histogram",
    "haclient_request_duration_seconds": "histogram",
    "haclient_connect_duration_seconds": "histogram",
    "haclient_connections": "gauge",
    "haclient_retry_budget_remaining_ratio": "gauge",
    "haclient_dns_stale_served": "counter",
    "haclient_resumes": "counter",
    "haclient_replay_bytes": "gauge",
    "haclient_outstanding_requests": "gauge",
    "haclient_endpoints": "gauge",
    "haclient_health_requests": "counter",
    "haclient_build_info": "gauge",
    "haclient_config_generation": "gauge",
    "haclient_listener_paused": "gauge",
    "haclient_accepted_connections": "counter",
    "haclient_log_lines_dropped": "counter",
    "haclient_turned_away": "counter",
}

LABELS = {
    "listener", "target", "code", "outcome", "verdict", "side", "state", "le", "version", "python",
    "direction",
    "result",
    "reason",
}  # fmt: skip
"""Each is bounded by the file, or by an enumeration."""


async def scraped(daemon: Running) -> dict[str, Metric]:
    answer = await asked(daemon.admin.address, "GET /metrics")
    assert answer.status == 200
    assert answer.fields["content-type"] == MEDIA_TYPE
    families: Iterable[Metric] = text_string_to_metric_families(answer.content.decode())
    return {family.name: family for family in families}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """Of the one sample that has these labels."""
    (found,) = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return float(found)


async def test_tunnels_in_numbers(nursery: trio.Nursery) -> None:
    origin = await nursery.start(Origin("slow", Behaviour(think=0.3)).serve)
    nobody = Endpoint("127.0.0.1", 9)
    async with running([origin], [nobody], mode=Mode.TCP) as daemon:
        async with trio.open_nursery() as clients:
            clients.start_soon(asked, str(daemon.door), "GET /")
            await eventually(lambda: daemon.sidecar.doors[0].outstanding == 1, within=5)
            families = await scraped(daemon)
            assert value(families, "haclient_outstanding_requests", target="a") == 1
        async with await connected(daemon.sidecar.doors[1].address) as turned_away:
            with pytest.raises(trio.BrokenResourceError):
                await turned_away.receive_some()
        await eventually(lambda: not daemon.sidecar.doors[0].inside, within=5)
        families = await scraped(daemon)

    requests, moved = "haclient_requests_total", "haclient_tunnel_bytes_total"
    assert value(families, requests, listener="a", code="none", outcome="tunnelled") == 1
    assert value(families, requests, listener="b", code="none", outcome="turned_away") == 1
    assert value(families, moved, listener="a", direction="up") == 54
    assert value(families, moved, listener="a", direction="down") > 54
    assert value(families, moved, listener="b", direction="down") == 0
    assert value(families, "haclient_attempts_total", target="a", verdict="answered") == 1
    assert value(families, "haclient_attempts_total", target="b", verdict="refused") == 1
    assert value(families, "haclient_request_duration_seconds_count", target="a") == 0
    assert value(families, "haclient_outstanding_requests", target="a") == 0


async def test_a_failover_in_numbers(nursery: trio.Nursery) -> None:
    bad = await nursery.start(Origin("bad", Behaviour(status=503)).serve)
    good = await nursery.start(Origin("good").serve)
    async with running([bad, good], [good]) as daemon:
        for _ in range(3):
            assert (await asked(str(daemon.door), "GET /")).status == 200
        assert (await asked(str(daemon.door), "BAD@ /")).status == 400
        families = await scraped(daemon)

    ours = {"listener": "a", "target": "a"}
    requests = "haclient_requests_total"
    assert value(families, requests, **ours, code="2xx", outcome="answered") == 3
    assert value(families, requests, listener="a", target="", code="4xx", outcome="own") == 1
    # The second and the third found a connection to the server that had answered the first.
    assert value(families, "haclient_attempts_total", target="a", verdict="answered") == 4
    assert value(families, "haclient_attempts_total", target="a", verdict="dead") == 0
    assert value(families, "haclient_failover_duration_seconds_count", target="a") == 1
    assert value(families, "haclient_failover_duration_seconds_sum", target="a") < 1
    assert value(families, "haclient_request_duration_seconds_count", target="a") == 3
    assert value(families, "haclient_connect_duration_seconds_count", target="a") == 2
    assert 0 < value(families, "haclient_retry_budget_remaining_ratio", target="a") < 1
    assert value(families, "haclient_endpoints", target="a", state="ok") == 2
    assert value(families, "haclient_accepted_connections_total", listener="a") == 4
    assert value(families, "haclient_turned_away_total", listener="a", reason="uid") == 0
    # What nobody has asked for stands there with 0, so that a rate has something to begin with.
    assert value(families, "haclient_request_duration_seconds_count", target="b") == 0
    assert value(families, "haclient_retry_budget_remaining_ratio", target="b") == 1
    nursery.cancel_scope.cancel()


async def test_what_is_there_now(nursery: trio.Nursery) -> None:
    origin = Origin("slow", Behaviour(think=30))
    endpoint = await nursery.start(origin.serve)
    async with running([endpoint], [endpoint]) as daemon:
        nursery.start_soon(asked, str(daemon.door), "GET /")
        await eventually(lambda: origin.executed == 1, within=5)
        families = await scraped(daemon)
        nursery.cancel_scope.cancel()

    connections = "haclient_connections"
    assert value(families, connections, side="downstream", state="outstanding") == 1
    assert value(families, connections, side="downstream", state="idle") == 0
    assert value(families, connections, side="upstream", state="leased") == 1
    assert value(families, connections, side="upstream", state="idle") == 0
    assert value(families, connections, side="upstream", state="connecting") == 0
    assert value(families, "haclient_outstanding_requests", target="a") == 1
    assert value(families, "haclient_outstanding_requests", target="b") == 0
    assert value(families, "haclient_listener_paused", listener="a") == 0
    assert value(families, "haclient_config_generation") == 1


async def test_names_and_labels(nursery: trio.Nursery) -> None:
    endpoint = await nursery.start(Origin().serve)
    async with running([endpoint]) as daemon:
        await asked(str(daemon.door), "GET /")
        families = await scraped(daemon)
    nursery.cancel_scope.cancel()

    ours = {name: family for name, family in families.items() if name.startswith("haclient_")}
    assert {name: family.type for name, family in ours.items()} == PROMISED
    assert all(re.fullmatch("[A-Z0-9].*\\.", family.documentation) for family in ours.values())
    labels = {label for family in ours.values() for each in family.samples for label in each.labels}
    assert labels <= LABELS
    assert {"process_open_fds", "process_resident_memory_bytes"} <= set(families)
    assert "python_gc_collections" in families


def test_every_metric_is_written_down() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    written = set(re.findall(r"^\| `(haclient_\w+)` \|", page, re.MULTILINE))
    suffix = {"counter": "_total"}
    assert written == {name + suffix.get(kind, "") for name, kind in PROMISED.items()}


async def test_a_removed_target_leaves_no_series(nursery: trio.Nursery) -> None:
    endpoint = await nursery.start(Origin().serve)
    async with running([endpoint], [endpoint]) as daemon:
        first, _ = daemon.sidecar.config.listeners
        await asked(daemon.sidecar.doors[1].address, "GET /")
        families = await scraped(daemon)
        assert value(families, "haclient_requests_total", listener="b", target="b") == 1

        config = type(daemon.sidecar.config)(
            targets={"a": daemon.sidecar.config.targets["a"]}, listeners=(first,)
        )
        daemon.sidecar.apply(config)
        families = await scraped(daemon)
        assert not [
            sample
            for family in families.values()
            for sample in family.samples
            if sample.labels.get("target") == "b"
        ]
    nursery.cancel_scope.cancel()


async def test_a_scrape_changes_nothing(nursery: trio.Nursery, tmp_path: Path) -> None:
    """What is counted must not hang on who asks, and how often."""
    endpoint = await nursery.start(Origin().serve)
    async with running([endpoint], [endpoint]) as daemon:
        await asked(daemon.sidecar.doors[1].address, "GET /")
        config = daemon.sidecar.config
        first, _ = config.listeners
        with (tmp_path / "stderr").open("wb") as stderr:
            log = Log(LogSettings(), stderr, under_journal=False)
        door = daemon.sidecar.doors[1]
        await eventually(lambda: ("b", "b") in daemon.book.rows and not door.inside, within=5)
        daemon.sidecar.apply(type(config)(targets=config.targets, listeners=(first,)))
        found = list(Metrics(daemon, daemon.book, log).collect())
        assert not [
            s for metric in found for s in metric.samples if s.labels.get("listener") == "b"
        ]
        assert ("b", "b") in daemon.book.rows
        log.close()
    nursery.cancel_scope.cancel()


def test_the_library_is_imported_at_the_first_scrape_only() -> None:
    code = "import sys, haclient.ops.admin_server; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_health_requests_are_counted_by_result(nursery: trio.Nursery) -> None:
    endpoint = await nursery.start(Origin().serve)
    health = HealthRequests(path="/health", interval=0.1)
    async with running([endpoint], [endpoint], health=health) as daemon:
        await asked(str(daemon.door), "GET /")
        live = daemon.sidecar.gateway.targets["a"]
        assert live.checks is not None
        counts = live.checks.counts
        await eventually(lambda: counts[Result.OK] > 1, within=5)
        families = await scraped(daemon)
    nursery.cancel_scope.cancel()

    total = "haclient_health_requests_total"
    assert value(families, total, target="a", result="ok") > 1
    assert value(families, total, target="a", result="silent") == 0
    assert value(families, total, target="b", result="ok") == 0  # nobody has asked for it
