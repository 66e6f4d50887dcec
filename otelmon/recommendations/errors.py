"""Requests fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import count, percent, share
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Impact,
    Verdict,
    insufficient,
    recommend,
)


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


_PERCENT: Final = 1.0
_REQUESTS: Final = 100


def judge(evidence: Evidence) -> Verdict:
    """Ask whether more than 1 % of 100 requests or more failed in 15 minutes, and where."""
    window = evidence.window()
    if not window.count or window.errors is None or window.error_rate is None:
        return insufficient("No requests were counted.")
    if window.count < _REQUESTS:
        return insufficient(f"{window.count} requests were counted; {_REQUESTS} are needed.")
    if window.error_rate <= _PERCENT:
        return PASS
    worst = max(evidence.routes, key=lambda each: each.errors, default=None)
    where, first = "", "Look at the log of the application."
    if worst is not None and worst.errors:
        kind = f" ({worst.error_types[0]})" if worst.error_types else ""
        where = f"; {share(worst.errors / window.errors)} come from {worst.name}{kind}"
        first = f"Look at the log of {worst.name} first{kind}."
    limit = evidence.settings.alert_levels()["error_rate"].critical
    critical = limit is not None and window.error_rate > limit
    return recommend(
        Finding(
            message=f"Error rate is {percent(window.error_rate)} ({count(window.errors)} of "
            f"{count(window.count)} requests){where}. Consider: checking "
            f"{'that route' if where else 'the application'}'s logs first.",
            severity="critical" if critical else "warning",
            evidence={
                "error_rate": round(window.error_rate, 3),
                "errors": window.errors,
                "requests": window.count,
                "window_seconds": 900,
                "threshold": _PERCENT,
                "routes": [
                    {"route": each.name, "errors": each.errors, "requests": each.requests}
                    for each in sorted(evidence.routes, key=lambda each: -each.errors)[:5]
                    if each.errors
                ],
            },
            impact=Impact("errors", window.errors, "errors of the last 15 minutes"),
            actions=(Action(first),),
        )
    )
