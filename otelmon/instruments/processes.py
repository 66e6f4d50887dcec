"""How many processes and threads there are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import Meter

    from otelmon.instruments.figures import Report, Row


# The kernel gives its first namespace of processes this number, at every boot.
_OF_THE_MACHINE: Final = "pid:[4026531836]"


class Processes:
    """Processes by the list of their ids, threads by the kernel's own count.

    No process is looked into: with 475 of them the count of threads costs 10 us by the kernel's
    word and 11 ms by asking each. Where there is no such word (anywhere but on Linux) it is not
    known. That word is about the whole machine, so in a namespace of its own, as in a container,
    the control group's count is the answer, and without one there is none.
    """

    def __init__(
        self,
        report: Report,
        *,
        pids: Callable[[], Sequence[int]] = psutil.pids,
        proc: Path = Path("/proc"),
        of_group: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Count *pids*; read the threads below *proc*, in a namespace of its own from *of_group*."""
        self._pids = pids
        self._proc = proc
        self._of_group = of_group
        self._report = report

    def bind(self, meter: Meter) -> None:
        """Create the gauges on *meter*."""
        Reading("host_processes", ["process_count"], self._counted, self._report).bind(meter)
        Reading("host_threads", ["thread_count"], self._threads, self._report).bind(meter)

    def _counted(self) -> Row:
        return {"process_count": len(self._pids())}

    def _threads(self) -> Row:
        if self._is_confined():
            return {"thread_count": self._of_group()}
        # "0.61 0.48 0.40 1/486 2217": three averages, running/all threads, the newest pid.
        running_and_all = (self._proc / "loadavg").read_text("ascii").split()[3]
        return {"thread_count": int(running_and_all.partition("/")[2])}

    def _is_confined(self) -> bool:
        """Tell whether there are processes on the machine that cannot be seen from here."""
        try:
            return os.readlink(self._proc / "self/ns/pid") != _OF_THE_MACHINE  # noqa: PTH115 - a name
        except OSError:
            return False
