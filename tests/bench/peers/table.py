"""The results as Markdown: a table for each peer with ours in it, and what becomes of the claim."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from tests.bench.peers.outcome import Outcome
from tests.bench.peers.proxy import Proxy
from tests.bench.peers.rounds import Results
from tests.bench.tables import median, print_table

__all__ = ["print_all"]

EQUAL = 0.05
EQUAL_SHARE = 0.02
"""Medians so near count as equal, in seconds or as a share: what another run may differ by."""

WAITING = re.compile("^(slow|stalled)")
"""Rows in which the server lives, and is to be waited for."""

OURS, CONTROL = "haclient", "relay"
BEFORE, STALLED = "blackholed before the request", "stalled upload"


def print_all(results: Results, proxies: list[Proxy], runs: int) -> None:
    """Everything."""
    ours = [proxy for proxy in proxies if proxy.family == OURS]
    families = list(dict.fromkeys(proxy.family for proxy in proxies if proxy.family != OURS))
    for family in families:
        columns = ours + [proxy for proxy in proxies if proxy.family == family]
        rows = [
            [row, *(cell(by_name.get(p.name, [])) for p in columns)]
            for row, by_name in results.items()
        ]
        title = f"{family}, {runs} runs a row: median / max in seconds"
        print_table(title, ["fault", *(proxy.name for proxy in columns)], rows)
    print_summary(results, proxies)
    if ours:
        print_claim(results, proxies)


def cell(runs: list[Outcome]) -> str:
    """Median and maximum where all runs pass; else the slowest that does not, and how many do not."""
    if not runs:
        return ""
    failed = [outcome for outcome in runs if not outcome.passes]
    if not failed:
        return figures(runs)
    worst = max(failed, key=lambda outcome: outcome.took)
    after = f" after {worst.took:.1f}" if math.isfinite(worst.took) else ""
    return f"NO: {worst.error}{after} ({len(failed)}/{len(runs)})"


def figures(runs: list[Outcome]) -> str:
    """Median and maximum, in seconds."""
    times = [outcome.took for outcome in runs]
    return f"{median(times):.2f} / {max(times):.2f}"


def print_summary(results: Results, proxies: Iterable[Proxy]) -> None:
    """What each configuration passes."""
    rows = []
    for proxy in proxies:
        runs = {
            row: by_name[proxy.name] for row, by_name in results.items() if proxy.name in by_name
        }
        passed = sum(passes(outcomes) for outcomes in runs.values())
        outcomes = [outcome for each in runs.values() for outcome in each]
        rows.append(
            [
                proxy.name,
                f"{passed} of {len(runs)}",
                str(sum(not outcome.passes for outcome in outcomes)),
                str(sum(outcome.posts_run_twice for outcome in outcomes)),
                said(runs, BEFORE),
                said(runs, STALLED),
            ]
        )
    head = ["proxy", "rows passed", "runs failed", "POST run twice", BEFORE, STALLED]
    print_table("What each configuration passes", head, rows)


def passes(outcomes: list[Outcome]) -> bool:
    """A row is passed if each run is."""
    return all(outcome.passes for outcome in outcomes)


def said(runs: dict[str, list[Outcome]], word: str) -> str:
    """Whether all rows are passed whose names have the word; nothing, if there are none."""
    found = [passes(outcomes) for row, outcomes in runs.items() if word in row]
    return "" if not found else "yes" if all(found) else "no"


def print_claim(results: Results, proxies: list[Proxy]) -> None:
    """Ours against the best peer of each row: any, and any that leaves a living server alone."""
    names = [proxy.name for proxy in proxies if proxy.family not in (OURS, CONTROL)]
    patient = [name for name in names if waits(results, name)]
    rows = []
    for row, by_name in results.items():
        ours = by_name[OURS]
        cells = [row, cell(ours)]
        for group in (names, patient):
            best = best_of(by_name, group)
            cells += [f"{best[0]:.2f} {best[1]}" if best else "", verdict(ours, best)]
        rows.append(cells)
    head = ["fault", OURS, "best peer", "we are", "best that passes all waiting rows", "we are "]
    print_table("First or equal?", head, rows)


def waits(results: Results, name: str) -> bool:
    """Whether a configuration passes every row of a server that is only slow."""
    rows = [by_name[name] for row, by_name in results.items() if WAITING.search(row)]
    return all(passes(outcomes) for outcomes in rows)


def best_of(by_name: dict[str, list[Outcome]], names: list[str]) -> tuple[float, str] | None:
    """The least median of those that pass."""
    passing = [
        (median([outcome.took for outcome in by_name[name]]), name)
        for name in names
        if passes(by_name[name])
    ]
    return min(passing, default=None)


def verdict(ours: list[Outcome], best: tuple[float, str] | None) -> str:
    """In a word."""
    if not passes(ours):
        return "failing"
    if best is None:
        return "alone"
    mine = median([outcome.took for outcome in ours])
    margin = max(EQUAL, EQUAL_SHARE * mine)
    return "first" if best[0] - mine > margin else "equal" if mine - best[0] <= margin else "BEHIND"
