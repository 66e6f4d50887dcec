"""Memory of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import psutil

from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

    from otelmon.instruments.figures import Report, Row


class Extent(Protocol):
    """What is asked of psutil's answer, in bytes."""

    @property
    def total(self) -> int:
        """All of it."""

    @property
    def available(self) -> int:
        """What can be had without swapping."""


class Memory:
    """Total and available memory, and the rest: used is what cannot be had.

    psutil's own *used* leaves out what is neither free nor available, and then used, available
    and percent do not agree.
    """

    def __init__(
        self, report: Report, *, read: Callable[[], Extent] = psutil.virtual_memory
    ) -> None:
        """Read the memory by *read*."""
        self._read = read
        fields = ("memory_total", "memory_used", "memory_percent", "memory_available")
        self._reading = Reading("host_memory", fields, self._row, report)

    def bind(self, meter: Meter) -> None:
        """Create the gauges on *meter*."""
        self._reading.bind(meter)

    def _row(self) -> Row:
        found = self._read()
        used = found.total - found.available
        return {
            "memory_total": found.total,
            "memory_used": used,
            "memory_percent": used / found.total if found.total else None,
            "memory_available": found.available,
        }
