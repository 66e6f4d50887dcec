"""What was measured of databases, picked out of a reading.

Pure functions. What no process has said is None, never a made-up 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelmon.instruments.databases.levels import COUNT, SCOPE, STATE
from otelmon.ledger.reader import of_instrument
from otelmon.metrics import rows
from otelmon.metrics.quantiles import quantile


if TYPE_CHECKING:
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.rows import Row


def in_use(reading: Reading) -> int | None:
    """Return how many connections are in use in all processes; None if none was ever observed."""
    found = None
    for series in of_instrument(reading.series, COUNT):
        if (STATE, "used") in series.attributes:
            found = (found or 0) + int(sum(reading.values.get(series.base, {}).values()))
    return found


def of_databases(reading: Reading | None) -> dict[str, list[Row]]:
    """Return the rows that are of databases, by instrument."""
    found: dict[str, list[Row]] = {}
    for row in () if reading is None else rows.of_ledger(reading, only=SCOPE):
        found.setdefault(row.instrument.name, []).append(row)
    return found


def times(row: Row | None) -> dict[str, Any]:
    """Return how often something was measured in seconds, its mean and p95 in ms."""
    if row is None or not row.count:
        return {"count": 0, "mean_ms": None, "p95_ms": None}
    p95 = quantile(row.instrument.bounds, row.buckets, 0.95).value
    return {
        "count": row.count,
        "mean_ms": round(1000 * row.value / row.count, 3),
        "p95_ms": None if p95 is None else round(1000 * p95, 3),
    }
