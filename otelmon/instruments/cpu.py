"""CPU: how busy all of them were since the last collection, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import psutil

from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import Meter

    from otelmon.instruments.figures import Report, Row


class Baseline(NamedTuple):
    """CPU time of all CPUs since boot, in seconds: what the next share is measured from."""

    busy: float
    total: float


class Cpu:
    """The busy share of all CPUs between two collections, and their number.

    The baseline is ours to keep and to hand on, because psutil keeps its own by thread: there
    the first answer in every thread, and in every new keeper, is a false zero. Without a
    baseline, and between two readings within one tick of the clock, the share is not known.
    """

    def __init__(
        self,
        report: Report,
        *,
        baseline: Sequence[float] | None = None,
        times: Callable[[], tuple[float, ...]] = psutil.cpu_times,
        count: Callable[[], int | None] = psutil.cpu_count,
    ) -> None:
        """Go on from *baseline*, seconds of busy and of all CPU time."""
        self.baseline = None if baseline is None else Baseline(*baseline)
        self._times = times
        self._count = count
        self._report = report

    def bind(self, meter: Meter) -> None:
        """Create the gauges on *meter*."""
        Reading("host_cpu", ["cpu_percent"], self._share, self._report).bind(meter)
        Reading("host_cpu_count", ["cpu_count"], self._counted, self._report).bind(meter)

    def _share(self) -> Row:
        before, now = self.baseline, _spent(self._times())
        if before is not None and now.total == before.total:
            return {}
        self.baseline = now
        # Less time than before is another boot, or a machine moved to another host.
        if before is None or now.total < before.total:
            return {}
        share = (now.busy - before.busy) / (now.total - before.total)
        # The kernel's count of waiting for I/O may fall a little, which can carry it beyond 1.
        return {"cpu_percent": min(max(share, 0.0), 1.0)}

    def _counted(self) -> Row:
        return {"cpu_count": self._count()}


def _spent(times: tuple[float, ...]) -> Baseline:
    # Linux counts the time of guests under user and nice as well.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    idle = getattr(times, "idle", 0.0) + getattr(times, "iowait", 0.0)
    return Baseline(total - idle, total)
