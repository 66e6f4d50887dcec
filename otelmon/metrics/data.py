"""Rows as the SDK's MetricsData, which every standard exporter takes.

All of one scope stand together, and all of one instrument: exporters drop what is said twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otelmon.ledger.instrument import Instrument, Scope
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.rows import Row


__all__ = ["WORKER", "MetricsData", "metrics_data"]

WORKER = "otelmon.worker"
"""The attribute that tells whose figure it is, where each process has its own"""
_CUMULATIVE = AggregationTemporality.CUMULATIVE


def metrics_data(
    rows: Iterable[Row], reading: Reading, *, resource: Mapping[str, Any]
) -> MetricsData:
    """Return *rows* of *reading* for an exporter; *resource* are the attributes of the service.

    Sums and histograms are cumulative. They began when the ledger was made, those of one process
    when it began to serve.
    """
    times = _Times(reading)
    by_scope: dict[Scope, dict[Instrument, list[Row]]] = {}
    for row in rows:
        instruments = by_scope.setdefault(row.instrument.scope, {})
        instruments.setdefault(row.instrument, []).append(row)
    return MetricsData(
        [
            ResourceMetrics(
                # With what OTEL_RESOURCE_ATTRIBUTES says besides. Not by `Resource.create`, which
                # asks threads that a process has no more when it ends.
                OTELResourceDetector().detect().merge(Resource(resource)),
                [_scope_metrics(scope, found, times) for scope, found in by_scope.items()],
                "",
            )
        ]
    )


class _Times:
    """When the figures of a reading began, and as of when they are, in Unix ns."""

    def __init__(self, reading: Reading) -> None:
        self.now = round(reading.at * 1e9)
        self._created = round(reading.created * 1e9)
        self._claimed = {each.slot: round(each.claimed * 1e9) for each in reading.workers}

    def start(self, row: Row) -> int:
        # What is counted by slot goes on when the slot has another process.
        if row.worker is None or row.instrument.merge == "slot":
            return self._created
        return self._claimed.get(row.worker, self.now)


def _scope_metrics(
    scope: Scope, instruments: Mapping[Instrument, Sequence[Row]], times: _Times
) -> ScopeMetrics:
    return ScopeMetrics(
        InstrumentationScope(
            scope.name, scope.version, scope.schema_url, dict(scope.attributes) or None
        ),
        [
            Metric(
                instrument.name,
                instrument.description,
                instrument.unit,
                _data(instrument, rows, times),
            )
            for instrument, rows in instruments.items()
        ],
        scope.schema_url,
    )


def _data(instrument: Instrument, rows: Sequence[Row], times: _Times) -> Sum | Gauge | Histogram:
    if instrument.kind == "histogram":
        return Histogram([_buckets(row, times) for row in rows], _CUMULATIVE)
    points = [_number(row, times) for row in rows]
    # The smallest or largest of many counts is no count.
    if instrument.kind == "gauge" or instrument.merge in ("min", "max"):
        return Gauge(points)
    return Sum(points, _CUMULATIVE, is_monotonic=instrument.kind == "counter")


def _number(row: Row, times: _Times) -> NumberDataPoint:
    return NumberDataPoint(_attributes(row), times.start(row), times.now, row.value)


def _buckets(row: Row, times: _Times) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=_attributes(row),
        start_time_unix_nano=times.start(row),
        time_unix_nano=times.now,
        count=row.count,
        sum=row.value,
        bucket_counts=row.buckets,
        explicit_bounds=row.instrument.bounds,
        # Not kept: they could not be merged when a process dies.
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
    )


def _attributes(row: Row) -> dict[str, Any]:
    own = {} if row.worker is None else {WORKER: row.worker}
    return {**dict(row.attributes), **own}
