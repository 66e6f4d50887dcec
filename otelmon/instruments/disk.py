"""Space of one filesystem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import psutil

from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

    from otelmon.instruments.figures import Report, Row


class Space(Protocol):
    """What is asked of psutil's answer, in bytes."""

    @property
    def total(self) -> int:
        """The size of the filesystem."""

    @property
    def used(self) -> int:
        """What is taken."""

    @property
    def free(self) -> int:
        """What users can still have, which is less than total minus used: root has a reserve."""


class Disk:
    """Space of the filesystem that holds *path*, by default the one of the working directory.

    The share is that of used in used and free, as psutil and df have it: at 100 percent an
    ordinary user can write no more. A filesystem without any space has no share.
    """

    def __init__(
        self,
        report: Report,
        *,
        path: str = ".",
        read: Callable[[str], Space] = psutil.disk_usage,
    ) -> None:
        """Read the filesystem of *path* by *read*."""
        self._path = path
        self._read = read
        fields = ("disk_total", "disk_used", "disk_percent", "disk_free")
        self._reading = Reading("host_disk", fields, self._row, report)

    def bind(self, meter: Meter) -> None:
        """Create the gauges on *meter*."""
        self._reading.bind(meter)

    def _row(self) -> Row:
        found = self._read(self._path)
        usable = found.used + found.free
        return {
            "disk_total": found.total,
            "disk_used": found.used,
            "disk_percent": found.used / usable if usable else None,
            "disk_free": found.free,
        }
