"""No health check is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon.recommendations.verdict import PASS, Action, Finding, Verdict, recommend


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


def judge(evidence: Evidence) -> Verdict:
    """Ask whether there is one."""
    if evidence.checks:
        return PASS
    return recommend(
        Finding(
            message="No database or Redis check is registered; /health cannot see them. Consider: "
            "otelmon.add_check for what the application depends on.",
            severity="info",
            evidence={"checks": 0},
            actions=(Action('Call otelmon.add_check("database", SqlAlchemyCheck(engine)).'),),
        )
    )
