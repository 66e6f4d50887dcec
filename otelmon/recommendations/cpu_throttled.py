"""The container's CPU limit stops its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import share
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


_MOST: Final = 0.10
# A hundred milliseconds each.
_PERIODS: Final = 100


def judge(evidence: Evidence) -> Verdict:
    """Compare throttled periods of the last 15 minutes with all periods."""
    limit = evidence.host.get("container_cpu_limit")
    if limit is None:
        return not_applicable("There is no CPU limit.")
    periods = evidence.counts.get("cpu_periods")
    throttled = evidence.counts.get("cpu_throttled_periods")
    if periods is None or throttled is None or periods < _PERIODS:
        return insufficient("Too few periods of the CPU limit were counted.")
    part = throttled / periods
    if part <= _MOST:
        return PASS
    return recommend(
        Finding(
            message=f"The container was CPU-throttled in {share(part)} of periods (quota "
            f"{limit:g} CPU). Consider: raising the CPU limit or running fewer workers.",
            evidence={
                "throttled_periods": throttled,
                "periods": periods,
                "share": round(part, 3),
                "cpu_limit": limit,
                "threshold": _MOST,
            },
            actions=(
                Action("Raise the container's CPU limit.", "cpu limit", limit),
                Action("Run fewer workers.", "--workers", evidence.workers),
            ),
        )
    )
