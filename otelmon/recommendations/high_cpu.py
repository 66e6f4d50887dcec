"""The CPUs are busy, below what raises the alert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon.recommendations.amounts import percent
from otelmon.recommendations.triggers import of_alert
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Verdict,
    insufficient,
    not_applicable,
    recommend,
)


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


def judge(evidence: Evidence) -> Verdict:
    """Compare the mean of 15 minutes with 7/8 of ALERT_CPU_THRESHOLD."""
    trigger = of_alert(evidence.settings, "cpu")
    if trigger is None:
        return not_applicable("ALERT_CPU_THRESHOLD is off.")
    mean = evidence.mean("cpu_percent")
    if mean is None:
        return insufficient("The CPU's usage is not known.")
    if mean < trigger.at:
        return PASS
    actions = [Action("Find what computes most, and cache or move it.")]
    if evidence.routes:
        first = evidence.routes[0]
        actions.insert(
            0, Action(f"Profile {first.name} first: it takes {first.time_share:.0%} of the time.")
        )
    return recommend(
        Finding(
            message=f"High CPU usage ({percent(mean)}). Consider: optimizing queries, adding "
            "caching, or scaling horizontally.",
            severity=trigger.severity(mean),
            evidence={
                "cpu_percent": round(mean, 1),
                "window_seconds": 900,
                "threshold": trigger.at,
                "top_route": evidence.routes[0].name if evidence.routes else None,
            },
            actions=tuple(actions),
        )
    )
