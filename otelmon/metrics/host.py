"""The host's figures, measured: one process does it, as keeper, and all show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from opentelemetry.metrics import CallbackOptions, NoOpMeter, NoOpObservableGauge

from otelmon.instruments.cgroup import Cgroups
from otelmon.instruments.container import Container
from otelmon.instruments.cpu import Cpu
from otelmon.instruments.disk import Disk
from otelmon.instruments.disk_io import DiskIo
from otelmon.instruments.figures import MEASURED
from otelmon.instruments.load import Load
from otelmon.instruments.memory import Memory
from otelmon.instruments.network import Network
from otelmon.instruments.pressure import Pressure
from otelmon.instruments.processes import Processes
from otelmon.metrics.effective import effective


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.metrics import CallbackT, Meter, ObservableGauge, Observation

    from otelmon.instruments import container
    from otelmon.instruments.cpu import Baseline
    from otelmon.instruments.figures import Figure, Report


class Source(Protocol):
    """Anything that has gauges to create."""

    def bind(self, meter: Meter) -> None:
        """Create them on *meter*."""


class _Gauges(NoOpMeter):
    """Observable gauges that are asked by a call, one after the other as they were made.

    The SDK does the same for more CPU time than all sources take together, and 8 MB of the keeper's
    memory. The sources do not see who asks.
    """

    def __init__(self) -> None:
        """Have none."""
        super().__init__("otelmon.host")
        self._asked: list[tuple[str, CallbackT]] = []

    def create_observable_gauge(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
    ) -> ObservableGauge:
        """Have *callbacks* asked from now on; what else is created is asked for nothing."""
        self._asked += [(name, callback) for callback in callbacks or ()]
        return NoOpObservableGauge(name, callbacks, unit, description)

    def read(self) -> Iterator[tuple[str, Observation]]:
        """Yield what all say now, by the gauge's name."""
        options = CallbackOptions()
        for name, callback in self._asked:
            if callable(callback):
                for observation in callback(options):
                    yield name, observation


class HostMeter:
    """Measures this machine: observable gauges, read in the process, as one row.

    For one thread of one process. *cpu* and *container* are apart from the other sources because
    they have a memory, their baselines, from which the next process that measures goes on.
    """

    def __init__(
        self, cpu: Cpu, others: Iterable[Source] = (), *, container: Container | None = None
    ) -> None:
        """Bind the sources; nothing is measured yet."""
        self._cpu = cpu
        self._container = container
        self._gauges = _Gauges()
        sources: list[Source] = [cpu, *others]
        if container is not None:
            # Before others, which ask its groups in the round that it begins.
            sources.insert(0, container)
        for source in sources:
            source.bind(self._gauges)

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
                DiskIo(report),
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
        """
        row: dict[str, int | float | None] = {figure.field: None for figure in MEASURED}
        for gauge, said in self._gauges.read():
            figure = _OBSERVED.get((gauge, frozenset((said.attributes or {}).items())))
            if figure is not None:
                row[figure.field] = figure.shown(said.value)
        return effective(row)


_OBSERVED: dict[tuple[str, frozenset[object]], Figure] = {
    (figure.gauge.name, frozenset(figure.attributes.items())): figure for figure in MEASURED
}
