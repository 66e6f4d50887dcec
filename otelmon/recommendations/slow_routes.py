"""Routes that are slow and take much of all time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import duration, share
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Impact,
    Verdict,
    insufficient,
    not_applicable,
    recommend,
)


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence, Route


_SHARE: Final = 0.05
_REQUESTS: Final = 20


def judge(evidence: Evidence) -> Verdict:
    """Ask which routes have a p95 above ALERT_RESPONSE_TIME_THRESHOLD and 5 % of the time.

    What a mended one frees is half of what it takes: by Little's law a route has rate times mean
    time requests in work at any moment.
    """
    limit = evidence.settings.alert_levels()["response_time"].warning
    if limit is None:
        return not_applicable("ALERT_RESPONSE_TIME_THRESHOLD is off.")
    enough = [each for each in evidence.routes if each.requests >= _REQUESTS]
    if not enough:
        return insufficient(f"No route had {_REQUESTS} requests.")
    slow = [each for each in enough if each.p95 > limit and each.time_share >= _SHARE]
    if not slow:
        return PASS
    worst = max(slow, key=_freed)
    freed = round(_freed(worst), 2)
    above = "above " if worst.at_least else ""
    return recommend(
        Finding(
            message=f"{worst.name} is slow (p95 {above}{duration(worst.p95)}) and uses "
            f"{share(worst.time_share)} of all request time. Halving it would free about "
            f"{freed:.1f} workers. Consider: optimizing its queries, caching its result, or moving "
            "the work to a queue.",
            evidence={
                "threshold_ms": limit,
                "window_seconds": 900,
                "routes": [_shown(each) for each in sorted(slow, key=lambda each: -_freed(each))],
            },
            impact=Impact("workers", freed, "rate x mean time / 2"),
            actions=(Action(f"Profile {worst.name}."),),
        )
    )


def _freed(route: Route) -> float:
    return route.rate * route.mean / 1e3 / 2


def _shown(route: Route) -> dict[str, str | float]:
    return {
        "route": route.name,
        "requests": route.requests,
        "p95_ms": round(route.p95, 1),
        "mean_ms": round(route.mean, 1),
        "time_share": round(route.time_share, 3),
        "workers_freed": round(_freed(route), 2),
    }
