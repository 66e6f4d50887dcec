"""Memory is short, below what raises the alert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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


_WINDOW: Final = 300


def judge(evidence: Evidence) -> Verdict:
    """Compare the mean of 5 minutes with 7/8 of ALERT_MEMORY_THRESHOLD."""
    trigger = of_alert(evidence.settings, "memory")
    if trigger is None:
        return not_applicable("ALERT_MEMORY_THRESHOLD is off.")
    mean = evidence.mean("memory_percent", _WINDOW)
    if mean is None:
        return insufficient("The memory's usage is not known.")
    if mean < trigger.at:
        return PASS
    return recommend(
        Finding(
            message=f"High memory usage ({percent(mean)}). Consider: reducing cache size, "
            "optimizing data structures, or adding memory.",
            severity=trigger.severity(mean),
            evidence={
                "memory_percent": round(mean, 1),
                "window_seconds": _WINDOW,
                "threshold": trigger.at,
                "workers": evidence.workers,
                "workers_bytes": sum(evidence.memory.values()) or None,
            },
            actions=(
                Action("Reduce what caches in the workers hold."),
                Action("Add memory, or run fewer workers.", "--workers", evidence.workers),
            ),
        )
    )
