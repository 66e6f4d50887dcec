"""The figures of host and container, each under its three names: field, Prometheus, OpenTelemetry.

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
_DISK_IO = Gauge("system.disk.io", "By", "Bytes to and from all disks.")
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
    Figure(
        "disk_bytes_read",
        "system_disk_bytes_read",
        "Bytes read since boot from all disks.",
        _DISK_IO,
        {"disk.io.direction": "read"},
    ),
    Figure(
        "disk_bytes_written",
        "system_disk_bytes_written",
        "Bytes written since boot to all disks.",
        _DISK_IO,
        {"disk.io.direction": "write"},
    ),
)


def _on_the_host(figure: Figure) -> Figure:
    return dataclasses.replace(
        figure,
        field=f"{figure.field}_host",
        prometheus=figure.prometheus.replace("system_", "system_host_", 1),
        description=f"{figure.description} Of the host.",
    )


HOST_SIDE = tuple(
    _on_the_host(figure) for figure in FIGURES if figure.field.startswith(("cpu_", "memory_"))
)
"""What the host says where a container may say otherwise. Its gauges are those of the host"""

_IN_CPUS = "{cpu}"
_IN_CONTAINER = {
    # By field: the name in Prometheus, in OpenTelemetry, the unit, and what it is.
    "cpu_limit": ("cpu_limit", "cpu.limit", _IN_CPUS, "CPUs that may be used at once."),
    "cpu_usage": ("cpu_usage", "cpu.usage", _IN_CPUS, "CPUs in use since the sample before."),
    "cpu_percent": (
        "cpu_usage_percent",
        "cpu.limit.utilization",
        "1",
        "CPU time since the sample before, of what the limit allows.",
    ),
    "cpu_time": ("cpu_seconds", "cpu.time", "s", "CPU time used, in seconds."),
    "cpu_periods": (
        "cpu_periods",
        "cpu.periods",
        "{period}",
        "Periods in which the CPU limit was enforced.",
    ),
    "cpu_throttled_periods": (
        "cpu_throttled_periods",
        "cpu.throttled.periods",
        "{period}",
        "Periods in which the CPU limit stopped tasks.",
    ),
    "cpu_throttled_time": (
        "cpu_throttled_seconds",
        "cpu.throttled.time",
        "s",
        "Time for which the CPU limit stopped tasks, in seconds.",
    ),
    "memory_limit": ("memory_limit_bytes", "memory.limit", "By", "Memory that may be used."),
    "memory_high": (
        "memory_high_bytes",
        "memory.high",
        "By",
        "Memory above which tasks are slowed down to give some back.",
    ),
    "memory_usage": (
        "memory_usage_bytes",
        "memory.usage",
        "By",
        "Memory in use, with all that is cached from files.",
    ),
    "memory_working_set": (
        "memory_working_set_bytes",
        "memory.working_set",
        "By",
        "Memory in use without what is cached from files and not active.",
    ),
    "memory_available": (
        "memory_available_bytes",
        "memory.available",
        "By",
        "The limit minus the working set.",
    ),
    "memory_percent": (
        "memory_usage_percent",
        "memory.limit.utilization",
        "1",
        "The working set, of what the limit allows.",
    ),
    "oom_kills": ("oom_kills", "memory.oom_kills", "{process}", "Processes killed for memory."),
    "pids_current": ("pids", "pids.current", "{thread}", "Threads."),
    "pids_limit": ("pids_limit", "pids.limit", "{thread}", "Threads that may be."),
}

CONTAINER = tuple(
    Figure(
        f"container_{field}",
        f"system_container_{prometheus}",
        f"{about} Of the container.",
        Gauge(f"container.{name}", unit, about),
    )
    for field, (prometheus, name, unit, about) in _IN_CONTAINER.items()
)
"""What the control groups of the process allow and use"""


def _pressures(whose: str, prefix: str) -> tuple[Figure, ...]:
    gauge = Gauge(
        f"{whose}.pressure", "1", "Share of ten seconds in which tasks waited, by resource."
    )
    return tuple(
        Figure(
            f"{prefix}pressure_{resource}_{stalled}",
            f"system_{prefix}pressure_{resource}_{stalled}_percent",
            f"Share of the last 10 s in which {tasks} waited for {resource}, in percent.",
            gauge,
            {"resource": resource, "stalled": stalled},
        )
        for resource in ("cpu", "memory", "io")
        for stalled, tasks in (("some", "a task"), ("full", "all tasks"))
    )


PRESSURE = _pressures("system", "")
CONTAINER_PRESSURE = _pressures("container", "container_")

MEASURED = (*FIGURES, *PRESSURE, *CONTAINER, *CONTAINER_PRESSURE)
"""What the gauges observe"""
SHOWN = (*FIGURES, *HOST_SIDE, *PRESSURE, *CONTAINER, *CONTAINER_PRESSURE)
"""What has a name in Prometheus"""

_BY_FIELD = {figure.field: figure for figure in MEASURED}


def figures(*fields: str) -> tuple[Figure, ...]:
    """Return the figures of these fields; KeyError where there is no such field."""
    return tuple(_BY_FIELD[field] for field in fields)
