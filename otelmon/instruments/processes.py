"""How many processes and threads there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import Meter

    from otelmon.instruments.figures import Report, Row


class Processes:
    """Processes by the list of their ids, threads by the kernel's own count.

    No process is looked into: with 475 of them the count of threads costs 10 us by the kernel's
    word and 11 ms by asking each. Where there is no such word (anywhere but on Linux) it is not
    known.
    """

    def __init__(
        self,
        report: Report,
        *,
        pids: Callable[[], Sequence[int]] = psutil.pids,
        proc: Path = Path("/proc"),
    ) -> None:
        """Count *pids*; read the number of threads below *proc*."""
        self._pids = pids
        self._loadavg = proc / "loadavg"
        self._report = report

    def bind(self, meter: Meter) -> None:
        """Create the gauges on *meter*."""
        Reading("host_processes", ["process_count"], self._counted, self._report).bind(meter)
        Reading("host_threads", ["thread_count"], self._threads, self._report).bind(meter)

    def _counted(self) -> Row:
        return {"process_count": len(self._pids())}

    def _threads(self) -> Row:
        # "0.61 0.48 0.40 1/486 2217": three averages, running/all threads, the newest pid.
        running_and_all = self._loadavg.read_text("ascii").split()[3]
        return {"thread_count": int(running_and_all.partition("/")[2])}
