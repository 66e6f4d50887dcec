"""Nearly all workers are busy, or requests wait for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import duration, share
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Impact,
    Verdict,
    insufficient,
    not_applicable,
    recommend,
)


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


_BUSY: Final = 0.8
_QUEUE_MS: Final = 100.0
_WINDOW: Final = 300
# Where the CPUs have nothing left, more workers make it worse.
_CPU: Final = 85.0


def judge(evidence: Evidence) -> Verdict:
    """Ask whether in 5 minutes 80 % were busy, or p95 of waiting was above 100 ms, or a backlog stood."""
    busy = evidence.busy
    if busy is None:
        return insufficient("It is not known how many workers are busy.")
    queue = evidence.queue_p95
    backlog = [value for _, value in evidence.series("accept_backlog", _WINDOW) if value > 0]
    waits = queue is not None and queue > _QUEUE_MS
    # A burst fills it for a moment; twice, and with the workers busy, it is no burst.
    queues = len(backlog) >= 2 and busy > _BUSY / 2
    if busy <= _BUSY and not waits and not queues:
        return PASS
    cpu = evidence.mean("cpu_percent", _WINDOW)
    if cpu is not None and cpu >= _CPU:
        return not_applicable(f"The CPU is at {cpu:.0f}%: more workers would not help.")
    said = [f"Workers are {share(busy)} busy"]
    if waits and queue is not None:
        said.append(f"requests wait {duration(queue)} (p95) before they start")
    elif queues:
        said.append(f"up to {max(backlog):.0f} connections wait to be accepted")
    more = evidence.workers + max(1, evidence.workers // 2)
    threads = evidence.server.threads if evidence.server is not None else None
    return recommend(
        Finding(
            message=f"{' and '.join(said)}. Consider: adding workers ({evidence.workers} -> {more}, "
            f"{'the CPU has room' if cpu is not None else 'if the CPU has room'}) or using "
            "--threads 4.",
            evidence={
                "busy_share": round(busy, 3),
                "queue_p95_ms": queue,
                "backlog_most": max(backlog, default=0),
                "cpu_percent": None if cpu is None else round(cpu, 1),
                "window_seconds": _WINDOW,
                "threshold": _BUSY,
            },
            impact=Impact("workers", round(busy * evidence.workers, 2), "busy workers"),
            actions=(
                Action("Add workers.", "--workers", evidence.workers, more),
                Action("Serve several requests in one worker.", "--threads", threads, 4),
            ),
        )
    )
