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
    first = evidence.overflows[0]
    limit = evidence.settings.cardinality_limit
    why = f"; its attribute {first.attribute} has most values" if first.attribute else ""
    return recommend(
        Finding(
            message=f"{first.instrument} has more than the {limit:,} series it may have, and what is "
            f"new is not told apart{why}. Consider: dropping that attribute with a View, or "
            "raising OTELMON_CARDINALITY_LIMIT.",
            evidence={
                "overflowed": [dict(each._asdict()) for each in evidence.overflows],
                "limit": limit,
            },
            actions=(
                Action("Drop the attribute with otelmon.View."),
                Action(
                    "Allow more series.",
                    "OTELMON_CARDINALITY_LIMIT",
                    limit,
                    min(100_000, 2 * limit),
                ),
            ),
        )
    )
