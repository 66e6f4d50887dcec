"""What is measured through the OpenTelemetry API, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otelmon.ledger.instrument import OWN
from otelmon.metrics import rows


if TYPE_CHECKING:
    from otelmon.ledger.instrument import Instrument, Scope
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.rows import Row


_MOST_POINTS: Final = 200
"""For one instrument; the Prometheus text and exporters have all"""


def measured(reading: Reading | None) -> list[dict[str, Any]]:
    """Return all instruments but otelmon's own, whose figures stand elsewhere, with their points."""
    by_instrument: dict[Instrument, list[Row]] = {}
    for row in rows.of_ledger(reading, but=OWN) if reading is not None else ():
        by_instrument.setdefault(row.instrument, []).append(row)
    return [_shown(instrument, found) for instrument, found in by_instrument.items()]


def _shown(instrument: Instrument, found: list[Row]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": instrument.name,
        "kind": instrument.kind,
        "unit": instrument.unit,
        "description": instrument.description,
        "scope": _scope(instrument.scope),
        "points": [_point(row) for row in found[:_MOST_POINTS]],
        "points_left_out": max(0, len(found) - _MOST_POINTS),
    }
    if instrument.kind == "histogram":
        shown["bounds"] = instrument.bounds
    return shown


def _scope(scope: Scope) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": scope.name, "version": scope.version or None}
    if scope.schema_url:
        shown["schema_url"] = scope.schema_url
    if scope.attributes:
        shown["attributes"] = dict(scope.attributes)
    return shown


def _point(row: Row) -> dict[str, Any]:
    point: dict[str, Any] = {"attributes": dict(row.attributes)}
    if row.worker is not None:
        point["worker"] = row.worker
    if row.buckets:
        return {**point, "count": row.count, "sum": row.value, "buckets": row.buckets}
    return {**point, "value": row.value}
