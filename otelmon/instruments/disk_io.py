"""Bytes to and from disks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.metrics import Meter

    from otelmon.instruments.figures import Report, Row


class Traffic(Protocol):
    """What is asked of psutil's answer for one device, in bytes since boot."""

    @property
    def read_bytes(self) -> int:
        """What came in."""

    @property
    def write_bytes(self) -> int:
        """What went out."""


def _counters() -> Mapping[str, Traffic]:
    # As for the network: what psutil adds up is of the memory of one process.
    return psutil.disk_io_counters(perdisk=True, nowrap=False)


class DiskIo:
    """Bytes read and written since boot over all disks of the machine.

    A partition, a mapped volume, an array and a loop device are made of disks, and would count
    their bytes once more. Linux shows by a link which devices are disks; elsewhere all are.
    """

    def __init__(
        self,
        report: Report,
        *,
        read: Callable[[], Mapping[str, Traffic]] = _counters,
        devices: Path = Path("/sys/block"),
    ) -> None:
        """Read the devices, by name, by *read*; below *devices* stands what each of them is."""
        self._read = read
        self._devices = devices
        self._disks: dict[str, bool] = {}
        fields = ("disk_bytes_read", "disk_bytes_written")
        self._reading = Reading("host_disk_io", fields, self._row, report)

    def bind(self, meter: Meter) -> None:
        """Create the gauge on *meter*."""
        self._reading.bind(meter)

    def _row(self) -> Row:
        found = self._read()
        # What a device is it remains for as long as it is there.
        self._disks = {
            name: self._disks[name] if name in self._disks else self._is_disk(name)
            for name in found
        }
        disks = [traffic for name, traffic in found.items() if self._disks[name]]
        if not disks:
            return {}
        return {
            "disk_bytes_read": sum(traffic.read_bytes for traffic in disks),
            "disk_bytes_written": sum(traffic.write_bytes for traffic in disks),
        }

    def _is_disk(self, name: str) -> bool:
        # In names of devices the kernel writes a slash as an exclamation mark.
        return (self._devices / name.replace("/", "!") / "device").exists() or (
            not self._devices.exists()
        )
