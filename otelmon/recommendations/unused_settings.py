"""Variables are set that nothing uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon.recommendations.amounts import plural
from otelmon.recommendations.verdict import PASS, Action, Finding, Verdict, recommend


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


def judge(evidence: Evidence) -> Verdict:
    """Ask which of the names that the application may own are set, and used by no part of otelmon.

    Values are not told: some hold credentials.
    """
    idle = sorted(set(evidence.settings.owned) - evidence.used)
    if not idle:
        return PASS
    what = plural(len(idle), "variable")
    return recommend(
        Finding(
            message=f"{what[:1].upper()}{what[1:]} {'is' if len(idle) == 1 else 'are'} set that no "
            f"part of otelmon uses: {', '.join(idle)}. Consider: switching on the part that goes "
            "by it, or dropping it; if it is the application's own, silence this.",
            severity="info",
            evidence={"variables": [{"name": name} for name in idle]},
            actions=tuple(Action("Drop it, or use what goes by it.", name, "set") for name in idle),
        )
    )
