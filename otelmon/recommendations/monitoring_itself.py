"""otelmon itself does not work as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import plural, share
from otelmon.recommendations.verdict import PASS, Action, Finding, Verdict, recommend


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


_PRESENT: Final = 0.8
_WINDOW: Final = 900
# At the begin points come at other distances.
_FEWEST: Final = 10


def judge(evidence: Evidence) -> Verdict:
    """Ask whether parts of it failed, a process counts apart, or pushes or points are missing."""
    said = []
    if evidence.faults:
        kinds = [f"{kind} ({plural(n, 'time')})" for kind, n in sorted(evidence.faults.items())]
        said.append(f"these failed: {', '.join(kinds)}")
    if not evidence.complete:
        said.append("a worker counts for itself, so totals are incomplete")
    unpushed = round(evidence.counts.get("push_failures", 0))
    if unpushed and not evidence.counts.get("pushes"):
        failed = plural(unpushed, "time")
        said.append(f"metrics have not reached the collector for 15 minutes (failed {failed})")
    there = _there(evidence)
    if there is not None and there < _PRESENT:
        said.append(f"only {share(there)} of the samples were taken in time")
    if not said:
        return PASS
    return recommend(
        Finding(
            message=f"Monitoring itself has trouble: {'; '.join(said)}. Consider: looking at "
            "otelmon.faults in /health and at the log.",
            evidence={
                "faults": [{"kind": kind, "times": n} for kind, n in evidence.faults.items()],
                "complete": evidence.complete,
                "push_failures": unpushed,
                "samples_share": None if there is None else round(there, 3),
                "interval": evidence.interval,
            },
            actions=(
                Action("Look at otelmon.faults in /health; each is logged once with its cause."),
            ),
        )
    )


def late(seconds: float) -> Finding:
    """Return what is said where no keeper has published for so long, by whoever is asked."""
    return Finding(
        message=f"Monitoring itself has trouble: the last sample is {seconds:.0f} s old. Consider: "
        "looking whether the workers are stuck or stopped.",
        evidence={"keeper_age_seconds": round(seconds, 1)},
        actions=(Action("Look at keeper_age_seconds and otelmon.faults in /health."),),
    )


def _there(evidence: Evidence) -> float | None:
    """Return the share of the history's points of 15 minutes that are there."""
    if len(evidence.points) < _FEWEST:
        return None
    now = evidence.points[-1].monotonic
    recent = [each for each in evidence.points if now - each.monotonic <= _WINDOW * 1e9]
    if len(recent) < _FEWEST:
        return None
    lasted = (recent[-1].monotonic - recent[0].monotonic) / 1e9
    return min(1.0, (len(recent) - 1) * evidence.interval / lasted)
