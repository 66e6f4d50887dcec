"""Load average."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

    from otelmon.instruments.figures import Report, Row


def _averages() -> tuple[float, float, float]:
    # Looked up at the call: Windows has none, and psutil's stand-in there starts a thread.
    return os.getloadavg()


class Load:
    """The load average of one minute, to the two decimals that the kernel prints."""

    def __init__(
        self, report: Report, *, read: Callable[[], tuple[float, float, float]] = _averages
    ) -> None:
        """Read the averages of 1, 5 and 15 minutes by *read*."""
        self._read = read
        self._reading = Reading("host_load", ["load_avg"], self._row, report)

    def bind(self, meter: Meter) -> None:
        """Create the gauge on *meter*."""
        self._reading.bind(meter)

    def _row(self) -> Row:
        return {"load_avg": round(self._read()[0], 2)}
