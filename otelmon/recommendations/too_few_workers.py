"""One worker, or fewer than there are CPUs while they are busy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import share
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Verdict,
    not_applicable,
    recommend,
)


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


_BUSY: Final = 0.5
_PROPOSED: Final = 5


def judge(evidence: Evidence) -> Verdict:
    """Ask whether one sync worker with one thread serves all, or whether CPUs lie idle."""
    server = evidence.server
    if server is None:
        return not_applicable("It is not known how the server was told to serve.")
    cpus = evidence.host.get("cpu_count")
    proposed = _PROPOSED if cpus is None else max(2, math.floor(2 * cpus + 1))
    if server.workers == 1 and server.worker_class == "sync" and server.threads == 1:
        said = "Only 1 worker: one slow request blocks all others."
    elif cpus is not None and server.workers < cpus and _is_busy(evidence):
        said = (
            f"{server.workers} workers for {cpus:g} CPUs, and {share(evidence.busy or 0)} of them "
            "are busy."
        )
    else:
        return PASS
    return recommend(
        Finding(
            message=f"{said} Consider: --workers {proposed}.",
            evidence={
                "workers": server.workers,
                "worker_class": server.worker_class,
                "threads": server.threads,
                "cpus": cpus,
                "busy_share": evidence.busy,
            },
            actions=(Action("Run more workers.", "--workers", server.workers, proposed),),
        )
    )


def _is_busy(evidence: Evidence) -> bool:
    busy = evidence.busy
    return evidence.seconds >= evidence.patience and busy is not None and busy > _BUSY
