"""How a failover window is kept, as values for JSON: `haclient check` and `haclient explain` print it."""

from __future__ import annotations

import math
from typing import Any

from haclient.core.keepalive import Plan, Refusal

__all__ = ["finite", "plan_json"]


def plan_json(plan: Plan | Refusal) -> dict[str, Any]:
    """Seconds throughout; null: not bounded."""
    if isinstance(plan, Refusal):
        return {
            "window": plan.window,
            "kept": False,
            "smallest": plan.smallest,
            "reason": plan.reason,
        }
    return {
        "window": plan.window,
        "kept": True,
        "worst_case": finite(plan.worst_case),
        "phases": {
            phase.name.lower(): {
                "suspect": finite(bounds.suspect),
                "dead": finite(bounds.dead),
                "resent": finite(plan.resent_within(phase)),
            }
            for phase, bounds in plan.bounds.items()
        },
    }


def finite(seconds: float | None) -> float | None:
    """JSON has no infinity; digits below a microsecond say nothing."""
    return None if seconds is None or math.isinf(seconds) else round(seconds, 6)
