"""A pool of database connections is used up."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from otelmon.instruments.databases import levels
from otelmon.metrics.quantiles import quantile
from otelmon.recommendations.amounts import duration, plural
from otelmon.recommendations.owned import database
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Verdict,
    not_applicable,
    recommend,
)


if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelmon.metrics.rows import Row
    from otelmon.recommendations.evidence import Evidence


# https://opentelemetry.io/docs/specs/semconv/database/database-metrics/
COUNT: Final = levels.COUNT.name
MAX: Final = levels.MAX.name
TIMEOUTS: Final = "db.client.connection.timeouts"
WAIT: Final = "db.client.connection.wait_time"

_SHARE: Final = 0.9
_WAIT_MS: Final = 50.0


def judge(evidence: Evidence) -> Verdict:
    """Ask whether 90 % of a pool are in use, callers gave up, or p95 of waiting is above 50 ms."""
    fullest = _fullest(evidence)
    if fullest is None:
        return not_applicable("No pool of connections is observed.")
    name, used, most = fullest
    timeouts = round(evidence.counts.get("pool_timeouts", 0))
    waited = _waited(evidence)
    if used < _SHARE * most and not timeouts and (waited is None or waited <= _WAIT_MS):
        return PASS
    said = [f"{used:.0f} of {most:.0f} in use"]
    said += [f"wait p95 {duration(waited)}"] if waited is not None else []
    said += [plural(timeouts, "timeout")] if timeouts else []
    settings = database(evidence)
    present = None if settings is None else settings.pool_size
    return recommend(
        Finding(
            message=f"The database pool is exhausted ({', '.join(said)}). Consider: raising "
            "DB_POOL_SIZE, or returning connections sooner.",
            severity="critical" if timeouts else "warning",
            evidence={
                "pool": name,
                "used": used,
                "max": most,
                "wait_p95_ms": None if waited is None else round(waited, 1),
                "timeouts": timeouts,
                "window_seconds": 900,
            },
            actions=(
                Action(
                    "Keep more connections.",
                    "DB_POOL_SIZE",
                    present,
                    2 * present if present else None,
                ),
                Action("Return connections sooner: end transactions before slow work."),
            ),
        )
    )


def _fullest(evidence: Evidence) -> tuple[str, float, float] | None:
    """Return the pool of a worker that is fullest: its name, what is in use of it, how many it has."""
    limits = _by_pool(evidence.measured.get(MAX, ()))
    used = _by_pool(
        each
        for each in evidence.measured.get(COUNT, ())
        if dict(each.attributes).get(levels.STATE) == "used"
    )
    pools = [(key, used.get(key, 0.0), most) for key, most in limits.items() if most > 0]
    if not pools:
        return None
    (name, _), in_use, most = max(pools, key=lambda each: each[1] / each[2])
    return str(name), in_use, most


def _by_pool(found: Iterable[Row]) -> dict[tuple[object, int | None], float]:
    totals: defaultdict[tuple[object, int | None], float] = defaultdict(float)
    for each in found:
        totals[dict(each.attributes).get(levels.POOL), each.worker] += each.value
    return totals


def _waited(evidence: Evidence) -> float | None:
    """Return p95 of the time to get a connection in ms, since the instance began."""
    rows = [each for each in evidence.measured.get(WAIT, ()) if each.buckets]
    if not rows:
        return None
    buckets = tuple(map(sum, zip(*(each.buckets for each in rows), strict=True)))
    found = quantile(rows[0].instrument.bounds, buckets, 0.95).value
    return None if found is None else found * 1e3
