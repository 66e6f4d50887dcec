"""The host's figures, each under its three names: JSON field, Prometheus, OpenTelemetry.

The table is plain data. It imports neither psutil nor an SDK, so that a process which only shows
figures that another has measured does not pay for measuring.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


Row = Mapping[str, int | float | None]
"""One value per field; None where it is not known."""


class Report(Protocol):
    """Where a failure goes that must not stop the rest."""

    def __call__(self, kind: str, error: BaseException) -> None:
        """Take the *error* that a source of this *kind* met."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """An observable gauge, named and measured as the semantic conventions have it.

    A gauge also where the conventions count: these are last values, which one process measures
    and others show again, and a sum over interfaces falls when one of them goes away.
    """

    name: str
    unit: str
    description: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One field of a row, and what it is called elsewhere.

    *description* is its help text in Prometheus. *attributes* tell it from the other figures of
    its *gauge*. What a gauge with the unit 1 observes as a fraction is a percentage here.
    """

    field: str
    prometheus: str
    description: str
    gauge: Gauge
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def shown(self, observed: float) -> int | float:
        """Return the row's value for what the gauge *observed*."""
        return round(100 * observed, 1) if self.gauge.unit == "1" else observed


_FILESYSTEM = Gauge("system.filesystem.usage", "By", "Bytes of the filesystem, by state.")
_IO = Gauge("system.network.io", "By", "Bytes over all network interfaces but loopback.")
_USED_MEMORY = {"system.memory.state": "used"}
_USED_DISK = {"system.filesystem.state": "used"}

FIGURES = (
    Figure(
        "cpu_percent",
        "system_cpu_usage_percent",
        "Busy time of all CPUs since the sample before, in percent.",
        Gauge("system.cpu.utilization", "1", "Busy share of all CPUs since the last collection."),
    ),
    Figure(
        "cpu_count",
        "system_cpus",
        "Logical CPUs.",
        Gauge("system.cpu.logical.count", "{cpu}", "Logical CPUs."),
    ),
    Figure(
        "memory_total",
        "system_memory_total_bytes",
        "Memory of the machine in bytes.",
        Gauge("system.memory.limit", "By", "Memory of the machine."),
    ),
    Figure(
        "memory_used",
        "system_memory_usage_bytes",
        "Memory that cannot be had: total minus available, in bytes.",
        Gauge("system.memory.usage", "By", "Memory of the machine, by state."),
        _USED_MEMORY,
    ),
    Figure(
        "memory_percent",
        "system_memory_usage_percent",
        "Memory that cannot be had, in percent of the total.",
        Gauge("system.memory.utilization", "1", "Share of the memory, by state."),
        _USED_MEMORY,
    ),
    Figure(
        "memory_available",
        "system_memory_available_bytes",
        "Memory that can be had without swapping, in bytes.",
        Gauge("system.memory.linux.available", "By", "Memory that can be had without swapping."),
    ),
    Figure(
        "disk_total",
        "system_disk_total_bytes",
        "Size of the filesystem in bytes.",
        Gauge("system.filesystem.limit", "By", "Size of the filesystem."),
    ),
    Figure(
        "disk_used",
        "system_disk_usage_bytes",
        "Used space of the filesystem in bytes.",
        _FILESYSTEM,
        _USED_DISK,
    ),
    Figure(
        "disk_percent",
        "system_disk_usage_percent",
        "Used space of the filesystem in percent of what its users may have.",
        Gauge("system.filesystem.utilization", "1", "Share of the filesystem, by state."),
        _USED_DISK,
    ),
    Figure(
        "disk_free",
        "system_disk_free_bytes",
        "Space of the filesystem that its users can still have, in bytes.",
        _FILESYSTEM,
        {"system.filesystem.state": "free"},
    ),
    Figure(
        "network_bytes_sent",
        "system_network_bytes_sent",
        "Bytes sent since boot over all network interfaces but loopback.",
        _IO,
        {"network.io.direction": "transmit"},
    ),
    Figure(
        "network_bytes_recv",
        "system_network_bytes_recv",
        "Bytes received since boot over all network interfaces but loopback.",
        _IO,
        {"network.io.direction": "receive"},
    ),
    Figure(
        "load_avg",
        "system_load_average",
        "Load average of one minute.",
        # The conventions have no name for it; this is the one of the Collector's host receiver.
        Gauge("system.cpu.load_average.1m", "{thread}", "Load average of one minute."),
    ),
    Figure(
        "process_count",
        "system_processes",
        "Processes.",
        Gauge("system.process.count", "{process}", "Processes."),
    ),
    Figure(
        "thread_count",
        "system_threads",
        "Threads of all processes.",
        # No name in the conventions either.
        Gauge("system.thread.count", "{thread}", "Threads of all processes."),
    ),
)

_BY_FIELD = {figure.field: figure for figure in FIGURES}


def figures(*fields: str) -> tuple[Figure, ...]:
    """Return the figures of these fields; KeyError where there is no such field."""
    return tuple(_BY_FIELD[field] for field in fields)
