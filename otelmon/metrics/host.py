"""The host's figures through the OpenTelemetry SDK: one process measures them, all show them.

Each class holds an SDK MeterProvider of its own, apart from the global one, and starts no thread.
Build them late, and after the fork: to import the SDK takes 3 to 5 MB, and a child that forks with
one in its hands inherits locks that the SDK does not make anew.
"""

from __future__ import annotations

import _thread
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from otelmon import threads
from otelmon.instruments.cgroup import Cgroups
from otelmon.instruments.container import Container
from otelmon.instruments.cpu import Cpu
from otelmon.instruments.disk import Disk
from otelmon.instruments.figures import MEASURED, SHOWN
from otelmon.instruments.load import Load
from otelmon.instruments.memory import Memory
from otelmon.instruments.network import Network
from otelmon.instruments.pressure import Pressure
from otelmon.instruments.processes import Processes
from otelmon.metrics.effective import effective


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.metrics import CallbackOptions, Meter
    from opentelemetry.sdk.metrics.export import MetricReader, MetricsData, NumberDataPoint

    from otelmon.instruments import container
    from otelmon.instruments.cpu import Baseline
    from otelmon.instruments.figures import Figure, Report, Row


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


class Source(Protocol):
    """Anything that has gauges to create."""

    def bind(self, meter: Meter) -> None:
        """Create them on *meter*."""


class HostMeter:
    """Measures this machine: observable gauges, read in the process, as one row.

    For one thread of one process. *cpu* and *container* are apart from the other sources because
    they have a memory, their baselines, from which the next process that measures goes on.
    """

    def __init__(
        self, cpu: Cpu, others: Iterable[Source] = (), *, container: Container | None = None
    ) -> None:
        """Bind the sources to a MeterProvider; nothing is measured yet."""
        self._cpu = cpu
        self._container = container
        self._reader = InMemoryMetricReader()
        self._provider = _provider(self._reader)
        meter = self._provider.get_meter(_SCOPE)
        sources: list[Source] = [cpu, *others]
        if container is not None:
            # Before others, which ask its groups in the round that it begins.
            sources.insert(0, container)
        for source in sources:
            source.bind(meter)

    @classmethod
    def of_this_machine(
        cls,
        report: Report,
        *,
        baseline: Sequence[float] | None = None,
        container_baseline: Sequence[float] | None = None,
        disk_path: str = ".",
    ) -> Self:
        """Build one with all sources; the baselines are the last ones of the meter before."""
        cgroups = Cgroups()
        container = Container(report, cgroups=cgroups, baseline=container_baseline)
        return cls(
            Cpu(report, baseline=baseline),
            [
                Memory(report),
                Disk(report, path=disk_path),
                Network(report),
                Load(report),
                Processes(report, of_group=container.threads),
                Pressure(report, cgroups=cgroups),
            ],
            container=container,
        )

    @property
    def baseline(self) -> Baseline | None:
        """Busy and total CPU seconds at the last collection; a list of two to JSON."""
        return self._cpu.baseline

    @property
    def container_baseline(self) -> container.Baseline | None:
        """The same of the container; a list of three to JSON."""
        return None if self._container is None else self._container.baseline

    def collect(self) -> dict[str, int | float | None]:
        """Measure once; return all figures by their field, None where one is not known.

        What may be the host's or the container's is the container's where that has a limit.

        Raises what the SDK raises when the sources took more than 10 s.
        """
        row: dict[str, int | float | None] = {figure.field: None for figure in MEASURED}
        for gauge, point in _points(self._reader.get_metrics_data()):
            figure = _OBSERVED.get((gauge, frozenset((point.attributes or {}).items())))
            if figure is not None:
                row[figure.field] = figure.shown(point.value)
        return effective(row)


_OBSERVED: dict[tuple[str, frozenset[object]], Figure] = {
    (figure.gauge.name, frozenset(figure.attributes.items())): figure for figure in MEASURED
}


def _points(data: MetricsData | None) -> Iterator[tuple[str, NumberDataPoint]]:
    # None: nothing was observed at all, as under OTEL_SDK_DISABLED.
    resources = () if data is None else data.resource_metrics
    scopes = (scope for resource in resources for scope in resource.scope_metrics)
    for metric in (metric for scope in scopes for metric in scope.metrics):
        if isinstance(metric.data, Gauge):
            for point in metric.data.data_points:
                yield metric.name, point


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
