"""An instrument has more series than it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon.recommendations.verdict import PASS, Action, Finding, Verdict, recommend


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


def judge(evidence: Evidence) -> Verdict:
    """Ask whether any counts into its overflow series."""
    if not evidence.overflows:
        return PASS
    first, settings = evidence.overflows[0], evidence.settings
    alone = first.series >= settings.cardinality_limit
    name = "OTELMON_CARDINALITY_LIMIT" if alone else "OTELMON_CARDINALITY_TOTAL"
    limit = settings.cardinality_limit if alone else settings.cardinality_total
    too_many = (
        f"more than the {limit:,} series it may have"
        if alone
        else f"{first.series:,} of the {limit:,} series that all may have"
    )
    why = f"; its attribute {first.attribute} has most values" if first.attribute else ""
    return recommend(
        Finding(
            message=f"{first.instrument} has {too_many}, and what is "
            f"new is not told apart{why}. Consider: dropping that attribute with a View, or "
            f"raising {name}.",
            evidence={
                "overflowed": [dict(each._asdict()) for each in evidence.overflows],
                "limit": limit,
            },
            actions=(
                Action("Drop the attribute with otelmon.View."),
                Action("Allow more series.", name, limit, min(100_000, 2 * limit)),
            ),
        )
    )
