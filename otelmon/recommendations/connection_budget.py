"""All workers together may open more connections than a database allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.instruments.databases.limits import LIMIT
from otelmon.recommendations.owned import database
from otelmon.recommendations.pool_exhausted import MAX
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


# PostgreSQL's max_connections unless it is set.
_ALLOWED: Final = 100


def judge(evidence: Evidence) -> Verdict:
    """Compare the connections that all workers' pools may have with what the server allows.

    Where it has not told, with the 100 of PostgreSQL.
    """
    limits = [each.value for each in evidence.measured.get(MAX, ()) if each.value > 0]
    if not limits:
        return not_applicable("No pool of connections with a limit is observed.")
    each = max(limits)
    workers = max(1, evidence.workers)
    possible = workers * each
    told = [each.value for each in evidence.measured.get(LIMIT, ()) if each.value > 0]
    allowed = min(told, default=_ALLOWED)
    if possible <= allowed:
        return PASS
    size = max(1, int(allowed / workers / 3))
    by = (
        f"the server allows {allowed:.0f}"
        if told
        else f"PostgreSQL allows {_ALLOWED} unless told otherwise"
    )
    present = database(evidence)
    return recommend(
        Finding(
            message=f"Up to {possible:.0f} database connections are possible ({workers} workers x "
            f"{each:.0f}), and {by}. Consider: "
            f"DB_POOL_SIZE={size}, DB_MAX_OVERFLOW={2 * size}, or a pooler.",
            evidence={
                "possible": possible,
                "workers": workers,
                "per_worker": each,
                "allowed": allowed,
                "server_told": bool(told),
            },
            actions=(
                Action(
                    "Keep fewer connections.",
                    "DB_POOL_SIZE",
                    None if present is None else present.pool_size,
                    size,
                ),
                Action(
                    "Allow fewer above these.",
                    "DB_MAX_OVERFLOW",
                    None if present is None else present.max_overflow,
                    2 * size,
                ),
                Action("Put a pooler such as PgBouncer between."),
            ),
        )
    )
