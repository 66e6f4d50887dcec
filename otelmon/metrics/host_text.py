"""The host's figures as Prometheus text, by the OpenTelemetry SDK: one process measures, all show.

It holds an SDK MeterProvider of its own, apart from the global one, and starts no thread. Build it
late, and after the fork: to import the SDK takes 3 to 5 MB, and a child that forks with one in its
hands inherits locks that the SDK does not make anew.
"""

from __future__ import annotations

import _thread
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from otelmon import threads
from otelmon.instruments.figures import SHOWN


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import CallbackOptions
    from opentelemetry.sdk.metrics.export import MetricReader

    from otelmon.instruments.figures import Row


_SCOPE = "otelmon.host"


def _provider(reader: MetricReader) -> MeterProvider:
    return MeterProvider(
        [reader],
        # An empty one: the default runs detectors, in threads.
        resource=Resource.get_empty(),
        # Said here, or the SDK takes it from the environment and fails over a bad value.
        exemplar_filter=AlwaysOffExemplarFilter(),
        shutdown_on_exit=False,
        # The SDK can be told to measure its readers. What it counts is of one process; answered
        # by many in turn it would fall.
        views=[View(meter_name="opentelemetry-sdk", aggregation=DropAggregation())],
    )


class HostExporter:
    """Shows a row that was measured elsewhere as Prometheus text, through the OTel exporter.

    *read* returns the row; it is called once for each text, outside the lock, in the caller's
    thread, and what it raises is the caller's to handle. Any thread may ask for a text.
    """

    def __init__(self, read: Callable[[], Row]) -> None:
        """Create one observable gauge for each figure, under its name in Prometheus."""
        self._read = read
        # Apart from this object, which the gauges would otherwise keep alive in a cycle: a forked
        # child that lets go of it is rid of the provider before the SDK's hook starts threads.
        self._shown: dict[str, int | float | None] = {}
        # The exporter mixes up scrapes that run at the same time. A true lock, also under gevent:
        # nothing that is done under it waits, so no other greenlet can come to ask for it.
        self._lock = threads.original(_thread, "allocate_lock")()
        self._registry = CollectorRegistry()
        self._provider = _provider(
            PrometheusMetricReader(
                disable_target_info=True, scope_info_enabled=False, registry=self._registry
            )
        )
        meter = self._provider.get_meter(_SCOPE)
        for figure in SHOWN:
            # No unit: the exporter would append it to names that hold it already.
            meter.create_observable_gauge(
                figure.prometheus,
                [partial(_observe, self._shown, figure.field)],
                description=figure.description,
            )

    def text(self, *, openmetrics: bool) -> bytes:
        """Return the known figures as text 0.0.4 or OpenMetrics 1.0, the latter without its EOF.

        Each family is whole, so more may follow; nothing known, nothing returned.
        """
        row = self._read()
        with self._lock:
            self._shown.clear()
            self._shown.update(row)
            if not openmetrics:
                return generate_latest(self._registry)
            text: bytes = generate_openmetrics(self._registry)  # type: ignore[no-untyped-call]
        return text.removesuffix(b"# EOF\n")


def _observe(row: Row, field: str, _: CallbackOptions) -> list[Observation]:
    value = row.get(field)
    return [] if value is None else [Observation(value)]
