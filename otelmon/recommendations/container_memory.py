"""The container's memory limit is near."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import share, size
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


_SHARE: Final = 85.0
_CRITICAL: Final = 95.0


def judge(evidence: Evidence) -> Verdict:
    """Ask whether 85 % of the limit are in use, or whether processes were killed for memory."""
    limit = evidence.host.get("container_memory_limit")
    if limit is None:
        return not_applicable("There is no memory limit.")
    used = evidence.host.get("container_memory_percent")
    if used is None:
        return insufficient("It is not known how much of the limit is in use.")
    killed = round(evidence.counts.get("oom_kills", 0))
    if used <= _SHARE and not killed:
        return PASS
    host = evidence.host.get("memory_percent_host")
    beside = f" although the host shows {host:.0f}%" if host is not None else ""
    deaths = f", and {killed} processes were killed for it" if killed else ""
    proposed = round(limit * used / 60)
    return recommend(
        Finding(
            message=f"Memory is at {share(used / 100)} of the container limit ({size(limit)})"
            f"{beside}{deaths}. Consider: raising the limit, or running fewer workers.",
            severity="critical" if killed or used > _CRITICAL else "warning",
            evidence={
                "container_memory_percent": used,
                "container_memory_limit": limit,
                "memory_percent_host": host,
                "oom_kills": killed,
                "threshold": _SHARE,
            },
            actions=(
                Action("Raise the container's memory limit.", "memory limit", limit, proposed),
                Action("Run fewer workers.", "--workers", evidence.workers),
            ),
        )
    )
