"""Workers need more and more memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import size
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Impact,
    Verdict,
    insufficient,
    recommend,
)


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


_BYTES: Final = 20_000_000
_SHARE: Final = 0.02
_REQUESTS: Final = 500


def judge(evidence: Evidence) -> Verdict:
    """Ask whether half of the workers grow by more than 20 MB and 2 % an hour.

    The slope is robust (Theil-Sen), over half an hour at least and with 500 requests meanwhile.
    """
    known = evidence.growth
    if not known:
        return insufficient("No worker was looked at for long enough.")
    requests = evidence.most("request_count", 3600) or 0
    if requests < _REQUESTS:
        return insufficient(f"{requests:.0f} requests were counted; {_REQUESTS} are needed.")
    growing = [
        each
        for each in known
        if each.bytes_per_hour > _BYTES and each.bytes_per_hour > _SHARE * each.now
    ]
    if 2 * len(growing) < len(known):
        return PASS
    speeds = sorted(each.bytes_per_hour for each in growing)
    speed, now = speeds[len(speeds) // 2], max(each.now for each in growing)
    hours = _hours_left(evidence, sum(each.bytes_per_hour for each in growing))
    left = f"; memory is used up in about {hours:.0f} h" if hours is not None else ""
    return recommend(
        Finding(
            message=f"Worker memory grows about {size(speed)}/h ({size(now)} now{left}). "
            "Consider: setting --max-requests 1000 --max-requests-jitter 100 and looking for a "
            "leak.",
            evidence={
                "bytes_per_hour": round(speed),
                "bytes_now": now,
                "workers_growing": len(growing),
                "workers_looked_at": len(known),
                "window_seconds": round(max(each.seconds for each in growing)),
                "hours_left": hours,
            },
            impact=Impact("bytes_per_hour", round(sum(speeds)), "sum over the growing workers"),
            actions=(
                Action("Have workers end after some requests.", "--max-requests", None, 1000),
                Action("Spread that in time.", "--max-requests-jitter", None, 100),
                Action("Compare two snapshots of tracemalloc in a worker to find the leak."),
            ),
        )
    )


def _hours_left(evidence: Evidence, speed: float) -> float | None:
    available = evidence.host.get("memory_available")
    return None if available is None else round(available / speed, 1)
