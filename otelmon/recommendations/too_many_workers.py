"""More workers than the machine can use or the traffic needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from otelmon.metrics.slope import middle
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


_BUSY: Final = 0.2


def judge(evidence: Evidence) -> Verdict:
    """Ask whether there are more than 2 x CPUs + 1 workers and less than 20 % were busy.

    Two for each CPU and one is gunicorn's own advice:
    https://docs.gunicorn.org/en/stable/design.html#how-many-workers
    """
    cpus = evidence.host.get("cpu_count")
    most = evidence.most("workers_busy", 3600)
    mean = evidence.mean("workers_busy", 3600)
    if cpus is None or most is None or mean is None:
        return insufficient("The CPUs, or the busy workers, are not known.")
    advised = max(2, math.floor(2 * cpus + 1))
    if evidence.workers <= advised or mean >= _BUSY * evidence.workers:
        return PASS
    # At least twice what was ever needed.
    proposed = max(advised, 2 * math.ceil(most))
    if proposed >= evidence.workers:
        return PASS
    each = middle(evidence.memory.values())
    freed = None if each is None else (evidence.workers - proposed) * each
    wins = f" would free about {size(freed)}" if freed is not None else " would free memory"
    return recommend(
        Finding(
            message=f"{evidence.workers} workers on {cpus:g} CPUs but at most {most:.0f} were ever "
            f"busy. Reducing to {proposed}{wins}. Consider: --workers {proposed}.",
            severity="info",
            evidence={
                "workers": evidence.workers,
                "cpus": cpus,
                "busy_most": most,
                "busy_mean": round(mean, 2),
                "worker_bytes": None if each is None else round(each),
                "advised": advised,
            },
            impact=None
            if freed is None
            else Impact("bytes", round(freed), "workers less x median resident memory"),
            actions=(Action("Run fewer workers.", "--workers", evidence.workers, proposed),),
        )
    )
