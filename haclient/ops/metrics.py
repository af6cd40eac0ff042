"""The numbers of the book and of this moment, as Prometheus reads them.

prometheus_client writes the text; the numbers are kept elsewhere (book.py says why), and put together
when somebody scrapes. They are of one moment, so that is done in the loop (0.25 ms for each target); the
rest is done in a thread, for the loop has requests to look after: the import at the first scrape (20 ms,
most of it for http.server) and the writing, which takes as long again. The package's own global registry
is not used.

Every label has a bound: listeners and targets are what the file names, all others are enumerations.
Addresses have no label: a service in a cluster has had thousands by the end of a week.
"""

from __future__ import annotations

import functools
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import trio

from haclient._version import __version__
from haclient.core.health import EndpointHealth
from haclient.core.health_check import Result
from haclient.ops.book import Book, Histogram, Tally
from haclient.ops.control import Control
from haclient.ops.last_known import STATES
from haclient.ops.log import Log
from haclient.ops.status_build import (
    Connections,
    doors_of,
    names_in_use,
    outstanding_by_target,
    stale_served,
    states_of,
)
from haclient.proxy.record import Reason
from haclient.types import Endpoint, Verdict

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily, Metric
    from prometheus_client.registry import CollectorRegistry

__all__ = ["MEDIA_TYPE", "Metrics"]

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Every Prometheus since 2.0 reads it, and so do its imitators."""


class Metrics:
    """`await render()` gives the text."""

    def __init__(self, control: Control, book: Book, log: Log) -> None:
        self._control = control
        self._book = book
        self._log = log

    async def render(self) -> bytes:
        """One scrape."""
        await trio.to_thread.run_sync(_load)
        return await trio.to_thread.run_sync(_written, list(self.collect()))

    def collect(self) -> Iterator[Metric]:
        """All that is ours, of one moment."""
        yield from self._process()
        yield from self._requests()
        yield from self._targets()
        yield from self._listeners()

    def _process(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        control = self._control
        gateway = control.sidecar.gateway
        build = GaugeMetricFamily(
            "haclient_build_info",
            "1; the versions are in its labels.",
            labels=["version", "python"],
        )
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        yield GaugeMetricFamily(
            "haclient_config_generation",
            "How often a configuration was loaded, the one at the start included.",
            control.generation,
        )
        yield GaugeMetricFamily(
            "haclient_replay_bytes",
            "Request content kept for resends now.",
            gateway.ledger.held,
        )
        yield CounterMetricFamily(
            "haclient_dns_stale_served_total",
            "Names answered beyond their time, for the name servers were silent.",
            stale_served(gateway.engine),
        )
        yield CounterMetricFamily(
            "haclient_log_lines_dropped_total",
            "Log lines that stderr did not take.",
            self._log.dropped,
        )
        yield self._connections()

    def _connections(self) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        sidecar = self._control.sidecar
        metric = GaugeMetricFamily(
            "haclient_connections",
            "Open connections; downstream are those of clients, upstream those to servers.",
            labels=["side", "state"],
        )
        inside = sum(len(door.inside) for door in sidecar.doors)
        outstanding = sum(door.outstanding for door in sidecar.doors)
        idle, leased, connecting = Connections(sidecar.gateway.engine).totals()
        metric.add_metric(["downstream", "outstanding"], outstanding)
        metric.add_metric(["downstream", "idle"], inside - outstanding)
        metric.add_metric(["upstream", "idle"], idle)
        metric.add_metric(["upstream", "leased"], leased)
        metric.add_metric(["upstream", "connecting"], connecting)
        return metric

    def _requests(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        metric = CounterMetricFamily(
            "haclient_requests_total",
            "Requests that are over, by the class of the status that was sent (none: there was no "
            "response) and by what the client got.",
            labels=["listener", "target", "code", "outcome"],
        )
        rows = self._book.rows_of(*names_in_use(self._control.sidecar))
        for (listener, target), row in rows.items():
            for digit, count in enumerate(row.answered):
                if count:
                    metric.add_metric([listener, target, _code(digit), "answered"], count)
            for (digit, outcome), count in row.others.items():
                metric.add_metric([listener, target, _code(digit), outcome.name.lower()], count)
        yield metric
        moved = CounterMetricFamily(
            "haclient_tunnel_bytes_total",
            "Bytes of tunnels that are over (TCP mode, CONNECT, after 101): up from clients, down to them.",
            labels=["listener", "target", "direction"],
        )
        for (listener, target), row in rows.items():
            moved.add_metric([listener, target, "up"], row.tunnel_bytes_up)
            moved.add_metric([listener, target, "down"], row.tunnel_bytes_down)
        yield moved

    def _targets(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        sidecar = self._control.sidecar
        now, targets = trio.current_time(), sidecar.gateway.targets
        tallies = {name: self._book.tallies.get(name) or Tally() for name in targets}
        yield from _histograms(tallies)
        attempts = CounterMetricFamily(
            "haclient_attempts_total",
            "Attempts that are over, by how they ended.",
            labels=["target", "verdict"],
        )
        resumes = CounterMetricFamily(
            "haclient_resumes_total",
            "Responses that broke off and were asked for on another connection, from there on.",
            labels=["target"],
        )
        for name, tally in tallies.items():
            resumes.add_metric([name], tally.resumes)
            for verdict in Verdict:
                is_answered = verdict is Verdict.ANSWERED
                count = tally.answered if is_answered else tally.verdicts[verdict]
                attempts.add_metric([name, verdict.value], count)
        yield attempts
        yield resumes
        budget = GaugeMetricFamily(
            "haclient_retry_budget_remaining_ratio",
            "What is left of the retry budget, 0 to 1.",
            labels=["target"],
        )
        for name, live in targets.items():
            budget.add_metric([name], live.budget.remaining_ratio(now))
        yield budget
        yield self._outstanding()
        yield self._endpoints()
        yield self._health_requests()

    def _outstanding(self) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        sidecar = self._control.sidecar
        metric = GaugeMetricFamily(
            "haclient_outstanding_requests",
            "Requests that have not been answered yet, and tunnels.",
            labels=["target"],
        )
        counts = outstanding_by_target(sidecar.doors)
        for name in sidecar.gateway.targets:
            metric.add_metric([name], counts[name])
        return metric

    def _endpoints(self) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        gateway = self._control.sidecar.gateway
        health: dict[Endpoint, EndpointHealth] = {
            each.endpoint: each for each in gateway.engine.health.snapshot(trio.current_time())
        }
        metric = GaugeMetricFamily(
            "haclient_endpoints",
            "Known addresses, by what is thought of them.",
            labels=["target", "state"],
        )
        connections = Connections(gateway.engine)
        for name, live in gateway.targets.items():
            found = dict(states_of(live, health, connections, self._book.known))
            states = Counter(found.values())
            for state in STATES:
                metric.add_metric([name, state], states[state])
        return metric

    def _health_requests(self) -> Metric:
        from prometheus_client.core import CounterMetricFamily

        metric = CounterMetricFamily(
            "haclient_health_requests_total",
            "Health requests that are over, by what came of them; none where a target sends none.",
            labels=["target", "result"],
        )
        for name, live in self._control.sidecar.gateway.targets.items():
            for result in Result if live.checks is not None else ():
                assert live.checks is not None
                metric.add_metric([name, result.value], live.checks.counts[result])
        return metric

    def _listeners(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        paused = GaugeMetricFamily(
            "haclient_listener_paused",
            "1 while nothing is accepted, for lack of room or descriptors.",
            labels=["listener"],
        )
        accepted = CounterMetricFamily(
            "haclient_accepted_connections_total",
            "Connections of clients that were accepted.",
            labels=["listener"],
        )
        turned_away = CounterMetricFamily(
            "haclient_turned_away_total",
            "Connections of clients that might not enter, by why.",
            labels=["listener", "reason"],
        )
        by_name: dict[str, list[int]] = {}
        reasons: Counter[tuple[str, str]] = Counter()
        for door in doors_of(self._control.sidecar):
            counts = by_name.setdefault(door.settings.name, [0, 0])
            counts[0] |= door.is_paused
            counts[1] += door.accepted
            for reason in Reason:
                reasons[door.settings.name, reason.value] += door.turned_away[reason.value]
        for name, (is_paused, count) in by_name.items():
            paused.add_metric([name], is_paused)
            accepted.add_metric([name], count)
        for labels, count in reasons.items():
            turned_away.add_metric(labels, count)
        yield paused
        yield accepted
        yield turned_away


@functools.cache
def _load() -> CollectorRegistry:
    """Imports the package; returns what tells of the process: reads of /proc, and gc.get_stats."""
    from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class _Collected:
    """What was collected, as generate_latest wants it."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Ours, then the process's."""
        yield from self._families
        yield from _load().collect()


def _written(families: list[Metric]) -> bytes:
    from prometheus_client import generate_latest

    return generate_latest(_Collected(families))


def _histograms(tallies: dict[str, Tally]) -> Iterator[HistogramMetricFamily]:
    yield _histogram(
        "haclient_request_duration_seconds",
        "From the first byte of a request to the last of its response; tunnels do not count.",
        tallies,
        lambda tally: tally.durations,
    )
    yield _histogram(
        "haclient_failover_duration_seconds",
        "Of requests that a later attempt than the first answered: from the last sign of life of "
        "the server that failed to the start of that attempt.",
        tallies,
        lambda tally: tally.failovers,
    )
    yield _histogram(
        "haclient_connect_duration_seconds",
        "Of connections that came to be used: connect and, for https, handshake.",
        tallies,
        lambda tally: tally.connects,
    )


def _histogram(
    name: str, text: str, tallies: dict[str, Tally], of: Callable[[Tally], Histogram]
) -> HistogramMetricFamily:
    from prometheus_client.core import HistogramMetricFamily

    metric = HistogramMetricFamily(name, text, labels=["target"])
    for target, tally in tallies.items():
        histogram, buckets, below = of(tally), [], 0
        for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
            below += count
            buckets.append((str(bound), below))
        metric.add_metric([target], buckets, histogram.total)
    return metric


def _code(digit: int) -> str:
    return f"{digit}xx" if digit else "none"
