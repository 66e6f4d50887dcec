"""The disk is full soon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.metrics.slope import theil_sen
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


_SOON_HOURS: Final = 48.0


def judge(evidence: Evidence) -> Verdict:
    """Compare with 7/8 of ALERT_DISK_THRESHOLD, and ask when it is full as it grows now."""
    trigger = of_alert(evidence.settings, "disk")
    if trigger is None:
        return not_applicable("ALERT_DISK_THRESHOLD is off.")
    used = evidence.host.get("disk_percent")
    if used is None:
        return insufficient("The disk's usage is not known.")
    hours = _hours_left(evidence)
    soon = hours is not None and hours < _SOON_HOURS
    if used < trigger.at and not soon:
        return PASS
    path = evidence.settings.disk_path or "of the working directory"
    when = f" and fills in about {hours:.0f} h at the current rate" if soon else ""
    return recommend(
        Finding(
            message=f"Disk {path} is {percent(used)} full{when}. Consider: rotating logs or "
            "enlarging the volume.",
            severity=trigger.severity(used),
            evidence={
                "disk_percent": used,
                "disk_free": evidence.host.get("disk_free"),
                "hours_left": hours,
                "threshold": trigger.at,
            },
            actions=(
                Action("Rotate logs, and remove what is not needed."),
                Action("Enlarge the volume."),
            ),
        )
    )


def _hours_left(evidence: Evidence) -> float | None:
    """Return when it is full by the growth of the last hour; None if that is not told, or never."""
    line = evidence.series("disk_used", 3600)
    free = evidence.host.get("disk_free")
    # A quarter of an hour, where the patience is the usual one.
    if free is None or len(line) < 2 or line[-1][0] - line[0][0] < 3 * evidence.patience:
        return None
    slope = theil_sen(line)
    return None if slope is None or slope <= 0 else round(free / slope / 3600, 1)
