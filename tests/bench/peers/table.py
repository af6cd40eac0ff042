"""The results as Markdown: a table for each peer with ours in it, and what becomes of the claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.bench.peers.outcome import Outcome
from tests.bench.peers.proxy import Proxy
from tests.bench.peers.rounds import Results
from tests.bench.tables import median, print_table

__all__ = ["print_all"]

EQUAL = 0.05
"""Seconds within which two medians count as equal: what a second run may differ by."""

OURS = "haclient"
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
    """Median and maximum where all runs pass; else what they came to."""
    if not runs:
        return ""
    times = [outcome.took for outcome in runs]
    figures = f"{median(times):.2f} / {max(times):.2f}"
    failed = Counter(outcome.error for outcome in runs if not outcome.passes)
    if not failed:
        return figures
    errors = ", ".join(failed)
    return f"FAILS {sum(failed.values())}/{len(runs)} {figures} ({errors})"


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
    """Ours against the best peer that passes, row by row."""
    rows = []
    for row, by_name in results.items():
        ours = by_name[OURS]
        passing = {
            name: median([outcome.took for outcome in outcomes])
            for name, outcomes in by_name.items()
            if name != OURS and passes(outcomes)
        }
        best = min(passing, key=passing.__getitem__, default="")
        rows.append(
            [row, cell(ours), f"{passing[best]:.2f}" if best else "", best, verdict(ours, passing)]
        )
    print_table("Ours first or equal?", ["fault", OURS, "best peer", "which", "verdict"], rows)


def verdict(ours: list[Outcome], passing: dict[str, float]) -> str:
    """In a word."""
    if not passes(ours):
        return "fails"
    if not passing:
        return "alone"
    ahead = min(passing.values()) - median([outcome.took for outcome in ours])
    return "first" if ahead > EQUAL else "equal" if ahead >= -EQUAL else "BEHIND"
