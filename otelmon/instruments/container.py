"""What the control groups of this process allow it, and what they have used of it.

A limit is the smallest on the path from the process's own group to the mount point, and what is
used is read from the group that has that limit: it is the one that the kernel stops. A limit that
is no tighter than the machine itself is none.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil

from otelmon.instruments.cgroup import Cgroups, Tightest, count
from otelmon.instruments.source import Reading


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import Meter

    from otelmon.instruments.cgroup import Group
    from otelmon.instruments.figures import Report, Row


# Version 1 writes "no limit" as the largest whole number of pages.
_NO_LIMIT: Final = 2**62
_READINGS: Final = {
    "cpu_limit": ("cpu_limit",),
    "cpu": ("cpu_usage", "cpu_time", "cpu_percent"),
    "throttling": ("cpu_periods", "cpu_throttled_periods", "cpu_throttled_time"),
    "memory_limit": ("memory_limit",),
    "memory_high": ("memory_high",),
    "memory": ("memory_usage", "memory_working_set", "memory_available", "memory_percent"),
    "oom": ("oom_kills",),
    "pids": ("pids_current", "pids_limit"),
}


class Baseline(NamedTuple):
    """What the next share of CPU time is measured from."""

    used: float  # seconds
    at: float  # seconds of the machine's monotonic clock
    level: int  # of the group whose use it is


def _baseline(used: float, at: float, level: float) -> Baseline:
    return Baseline(used, at, int(level))


def _affinity() -> int | None:
    # Looked up at the call: macOS and Windows have none.
    ask = getattr(os, "sched_getaffinity", None)
    return None if ask is None else len(ask(0))


def _memory_total() -> int:
    # Not psutil's: to have this one figure by it costs as much as all of the memory's.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Container:
    """The figures of this process's groups, whatever made them: a container, a pod, a service.

    Where it stands in the machine's own first group there are none. Like the host's, the CPU's
    baseline is ours to keep and to hand on.
    """

    def __init__(  # noqa: PLR0913 - the world that it looks at, by name
        self,
        report: Report,
        *,
        cgroups: Cgroups | None = None,
        baseline: Sequence[float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        cpus: Callable[[], int | None] = psutil.cpu_count,
        affinity: Callable[[], int | None] = _affinity,
        memory_total: Callable[[], int] = _memory_total,
    ) -> None:
        """Go on from *baseline*: seconds used, at which second, at which level."""
        self.baseline = None if baseline is None else _baseline(*baseline)
        self._cgroups = Cgroups() if cgroups is None else cgroups
        self._clock = clock
        self._cpus = cpus
        self._affinity = affinity
        self._memory_total = memory_total
        self._report = report

    def bind(self, meter: Meter) -> None:
        """Create the gauges on *meter*; each reading fails alone."""
        reads = {
            "cpu_limit": self._cpu_limit,
            "cpu": self._cpu,
            "throttling": self._throttling,
            "memory_limit": self._memory_limit,
            "memory_high": self._memory_high,
            "memory": self._memory,
            "oom": self._oom,
            "pids": self._pids,
        }
        for kind, fields in _READINGS.items():
            named = [f"container_{field}" for field in fields]
            Reading(f"container_{kind}", named, reads[kind], self._report).bind(meter)

    def threads(self) -> int | None:
        """Return how many threads the process's own group has."""
        group = self._cgroups.group("pids")
        return None if group is None else group.count("pids.current")

    # -- CPU -------------------------------------------------------------------------------------

    def _cpu_limit(self) -> Row:
        # The first reading of a round.
        self._cgroups.renew()
        limit = self._cpu_bound()
        return {"container_cpu_limit": None if limit is None else _tidy(limit.limit)}

    def _cpu_bound(self) -> Tightest | None:
        group = self._cgroups.group("cpu")
        bound = None if group is None else group.tightest(lambda level: _quota(group, level))
        affinity = self._affinity()
        # Of a process that is bound to CPUs in the machine's own group, the share is not known:
        # what this group has used is everybody's.
        if affinity is not None and self._accounts() is not None:
            pinned = Tightest(affinity, 0)
            bound = pinned if bound is None else min(bound, pinned)
        cpus = self._cpus()
        return None if bound is None or (cpus is not None and bound.limit >= cpus) else bound

    def _accounts(self) -> Group | None:
        return self._cgroups.group("cpuacct")

    def _cpu(self) -> Row:
        bound = self._cpu_bound()
        level = 0 if bound is None else bound.level
        used, now = self._cpu_used(level), self._clock()
        if used is None:
            return {}
        before, self.baseline = self.baseline, Baseline(used, now, level)
        row: dict[str, float | None] = {"container_cpu_time": used}
        # Less than before is another group; no time between the two says nothing.
        if before is None or before.level != level or used < before.used or now <= before.at:
            return row
        cpus = (used - before.used) / (now - before.at)
        row["container_cpu_usage"] = round(cpus, 4)
        if bound is not None:
            # What was saved up in one period may be spent in the next.
            row["container_cpu_percent"] = min(cpus / bound.limit, 1.0)
        return row

    def _cpu_used(self, level: int) -> float | None:
        group, limiting = self._accounts(), self._cgroups.group("cpu")
        if group is None:
            return None
        if group.version == 2:
            used = group.entry("cpu.stat", "usage_usec", level)
            return None if used is None else used / 1e6
        if level and (limiting is None or _names(limiting) != _names(group)):
            # The two trees of version 1 differ, so the group that has the limit is not in this one.
            return None
        used = group.count("cpuacct.usage", level)
        return None if used is None else used / 1e9

    def _throttling(self) -> Row:
        group = self._cgroups.group("cpu")
        if group is None:
            return {}
        bound = group.tightest(lambda level: _quota(group, level))
        level = 0 if bound is None else bound.level
        time_key, scale = ("throttled_usec", 1e6) if group.version == 2 else ("throttled_time", 1e9)
        throttled = group.entry("cpu.stat", time_key, level)
        return {
            "container_cpu_periods": group.entry("cpu.stat", "nr_periods", level),
            "container_cpu_throttled_periods": group.entry("cpu.stat", "nr_throttled", level),
            "container_cpu_throttled_time": None if throttled is None else throttled / scale,
        }

    # -- memory ----------------------------------------------------------------------------------

    def _memory_limit(self) -> Row:
        bound = self._memory_bound()
        return {"container_memory_limit": None if bound is None else int(bound.limit)}

    def _memory_high(self) -> Row:
        group = self._cgroups.group("memory")
        if group is None or group.version == 1:
            return {}
        high = group.tightest(lambda level: _or_max(group.text("memory.high", level)))
        return {"container_memory_high": None if high is None else int(high.limit)}

    def _memory_bound(self) -> Tightest | None:
        group = self._cgroups.group("memory")
        if group is None:
            return None
        bound = group.tightest(lambda level: _memory_limit(group, level))
        if group.version == 1:
            # It also knows of limits above what can be seen.
            above = group.entry("memory.stat", "hierarchical_memory_limit")
            if above is not None and (bound is None or above < bound.limit):
                bound = Tightest(above, 0)
        return None if bound is None or bound.limit >= self._memory_total() else bound

    def _memory(self) -> Row:
        group, bound = self._cgroups.group("memory"), self._memory_bound()
        if group is None:
            return {}
        level = 0 if bound is None else bound.level
        if group.version == 2:
            usage = group.count("memory.current", level)
            cold = group.entry("memory.stat", "inactive_file", level)
        else:
            usage = group.count("memory.usage_in_bytes", level)
            cold = group.entry("memory.stat", "total_inactive_file", level)
        if usage is None or cold is None:
            return {"container_memory_usage": usage}
        # The two were not read at one moment.
        working = max(usage - cold, 0)
        row: dict[str, float | None] = {
            "container_memory_usage": usage,
            "container_memory_working_set": working,
        }
        if bound is not None:
            row["container_memory_available"] = max(int(bound.limit) - working, 0)
            row["container_memory_percent"] = (
                min(working / bound.limit, 1.0) if bound.limit else None
            )
        return row

    def _oom(self) -> Row:
        group = self._cgroups.group("memory")
        if group is None:
            return {}
        name = "memory.events" if group.version == 2 else "memory.oom_control"
        return {"container_oom_kills": group.entry(name, "oom_kill")}

    # -- processes -------------------------------------------------------------------------------

    def _pids(self) -> Row:
        group = self._cgroups.group("pids")
        if group is None:
            return {}
        bound = group.tightest(lambda level: _or_max(group.text("pids.max", level)))
        return {
            "container_pids_current": group.count("pids.current"),
            "container_pids_limit": None if bound is None else int(bound.limit),
        }


def _names(group: Group) -> list[str]:
    return [path.name for path in group.path[:-1]]


def _quota(group: Group, level: int) -> float | None:
    """Return how many CPUs a group may use at once, by its quota of time; None without one."""
    if group.version == 2:
        words = (group.text("cpu.max", level) or "max").split()
        if words == ["max"] or (len(words) == 2 and words[0] == "max"):
            return None
        if len(words) != 2:
            raise ValueError(f"A quota and a period are expected, not {words!r:.40}.")
        return _share(*words)
    quota, period = (group.text(f"cpu.cfs_{which}_us", level) for which in ("quota", "period"))
    if quota is None or period is None or quota.strip() == "-1":
        return None
    return _share(quota, period)


def _share(quota: str, period: str) -> float:
    if not count(period) or not count(quota):
        raise ValueError(f"No CPU has a quota of {quota!r:.40} in {period!r:.40}.")
    return count(quota) / count(period)


def _memory_limit(group: Group, level: int) -> int | None:
    if group.version == 2:
        return _or_max(group.text("memory.max", level))
    limit = group.count("memory.limit_in_bytes", level)
    return None if limit is None or limit >= _NO_LIMIT else limit


def _or_max(said: str | None) -> int | None:
    return None if said is None or said.strip() == "max" else count(said)


def _tidy(number: float) -> int | float:
    """Return 2 for 2.0, and three decimals at the most."""
    return int(number) if number == int(number) else round(number, 3)
