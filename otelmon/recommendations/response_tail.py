"""The slowest requests are close to the worker's timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import duration
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


_SHARE: Final = 0.7


def judge(evidence: Evidence) -> Verdict:
    """Compare p99 and the oldest request of 15 minutes with 70 % of gunicorn's --timeout.

    Only a sync worker is killed for one long request; p99 is not known above 10 s, the oldest
    request in flight is.
    """
    server = evidence.server
    if server is None or server.worker_class != "sync" or not server.timeout:
        return not_applicable("No sync worker of gunicorn with a --timeout, which would kill it.")
    window, oldest = evidence.window(), evidence.most("oldest_request_seconds")
    if window.p99 is None and oldest is None:
        return insufficient("No requests were counted.")
    slowest = max(window.p99 or 0.0, 1e3 * (oldest or 0.0))
    if slowest <= 1e3 * _SHARE * server.timeout:
        return PASS
    return recommend(
        Finding(
            message=f"The slowest requests ({duration(slowest)}) are close to the "
            f"{server.timeout:g} s worker timeout. Consider: moving work to a queue or raising "
            "--timeout.",
            evidence={
                "p99_ms": None if window.p99 is None else round(window.p99, 1),
                "oldest_request_seconds": oldest,
                "timeout_seconds": server.timeout,
                "lost_requests": evidence.counts.get("lost"),
                "window_seconds": 900,
            },
            actions=(
                Action("Move the work to a queue."),
                Action(
                    "Raise the timeout.", "--timeout", server.timeout, round(2 * server.timeout)
                ),
            ),
        )
    )
