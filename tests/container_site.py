"""Recorded trees of control groups, and a machine on which one of them is planted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelmon.instruments.cgroup import Cgroups
from otelmon.instruments.container import Container
from otelmon.instruments.cpu import Cpu
from otelmon.instruments.memory import Memory
from otelmon.instruments.pressure import Pressure
from otelmon.metrics import figures
from otelmon.metrics.host import HostMeter
from tests.cgroups import MIB, PRESSURE, mounted, plant
from tests.sources import published
from tests.test_instruments import Extent, Reports, World


if TYPE_CHECKING:
    from pathlib import Path


GIB = 1024 * MIB

# A pod whose container has half a CPU of its two, in a namespace that shows the pod as well.
V2 = {
    "proc/self/cgroup": "0::/pod/app\n",
    "proc/self/mountinfo": mounted(("/sys/fs/cgroup", "/", "")),
    "proc/pressure/cpu": PRESSURE.format(some="90.00", full="0.00"),
    "sys/fs/cgroup/cpu.stat": "usage_usec 900000000\n",
    "sys/fs/cgroup/pod/cgroup.type": "domain\n",
    "sys/fs/cgroup/pod/cpu.max": "200000 100000\n",
    "sys/fs/cgroup/pod/memory.max": "max\n",
    "sys/fs/cgroup/pod/pids.max": "100\n",
    "sys/fs/cgroup/pod/app/cgroup.type": "domain\n",
    "sys/fs/cgroup/pod/app/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/pod/app/cpu.stat": (
        "usage_usec 12000000\nuser_usec 1\nsystem_usec 1\n"
        "nr_periods 400\nnr_throttled 300\nthrottled_usec 2500000\n"
    ),
    "sys/fs/cgroup/pod/memory.high": f"{300 * MIB}\n",
    "sys/fs/cgroup/pod/app/memory.max": f"{200 * MIB}\n",
    "sys/fs/cgroup/pod/app/memory.high": f"{180 * MIB}\n",
    "sys/fs/cgroup/pod/app/memory.current": f"{90 * MIB}\n",
    "sys/fs/cgroup/pod/app/memory.stat": f"anon 5\ninactive_file {40 * MIB}\nactive_file 7\n",
    "sys/fs/cgroup/pod/app/memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n",
    "sys/fs/cgroup/pod/app/pids.current": "17\n",
    "sys/fs/cgroup/pod/app/pids.max": "max\n",
    "sys/fs/cgroup/pod/app/cpu.pressure": PRESSURE.format(some="75.50", full="12.25"),
    "sys/fs/cgroup/pod/app/memory.pressure": "some avg10=1.00 avg60=0.00 avg300=0.00 total=1\n",
}
V2_LATER = {"sys/fs/cgroup/pod/app/cpu.stat": "usage_usec 16000000\nnr_periods 500\n"}

# Docker's way: the container's own group is what is mounted, under its name on the machine.
V1 = {
    "proc/self/cgroup": (
        "5:pids:/docker/c0ffee\n4:memory:/docker/c0ffee\n3:cpu,cpuacct:/docker/c0ffee\n"
        "1:name=systemd:/docker/c0ffee\n"
    ),
    "proc/self/mountinfo": mounted(
        ("/sys/fs/cgroup/cpu,cpuacct", "/docker/c0ffee", "cpu,cpuacct"),
        ("/sys/fs/cgroup/memory", "/docker/c0ffee", "memory"),
        ("/sys/fs/cgroup/pids", "/docker/c0ffee", "pids"),
        ("/sys/fs/cgroup/systemd", "/docker/c0ffee", "xattr,name=systemd"),
    ),
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 4\nnr_throttled 3\nthrottled_time 250000000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpuacct.usage": "12000000000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{300 * MIB}\n",
    "sys/fs/cgroup/memory/memory.stat": (
        f"inactive_file 1\nhierarchical_memory_limit {400 * MIB}\ntotal_inactive_file {100 * MIB}\n"
    ),
    "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "sys/fs/cgroup/pids/pids.current": "5\n",
    "sys/fs/cgroup/pids/pids.max": "64\n",
}
V1_LATER = {"sys/fs/cgroup/cpu,cpuacct/cpuacct.usage": "18000000000\n"}

# Only the memory is limited, by version 1; of version 2 there is the tree alone, and its pressure.
HYBRID = {
    "proc/self/cgroup": "2:memory:/app\n1:cpu,cpuacct:/\n0::/app\n",
    "proc/self/mountinfo": mounted(
        ("/sys/fs/cgroup/unified", "/", ""),
        ("/sys/fs/cgroup/cpu", "/", "cpu,cpuacct"),
        ("/sys/fs/cgroup/my\\040memory", "/", "memory"),
    ),
    "sys/fs/cgroup/cpu/release_agent": "",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu/cpuacct.usage": "99000000000\n",
    "sys/fs/cgroup/my memory/release_agent": "",
    "sys/fs/cgroup/my memory/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/my memory/app/memory.limit_in_bytes": f"{GIB}\n",
    "sys/fs/cgroup/my memory/app/memory.usage_in_bytes": f"{GIB // 2}\n",
    "sys/fs/cgroup/my memory/app/memory.stat": (
        f"hierarchical_memory_limit {GIB}\ntotal_inactive_file {GIB // 4}\n"
    ),
    "sys/fs/cgroup/unified/app/cgroup.type": "domain\n",
    "sys/fs/cgroup/unified/app/io.pressure": PRESSURE.format(some="3.00", full="2.00"),
    "sys/fs/cgroup/unified/app/cpu.stat": "usage_usec 1\n",
}


class Site:
    """A machine of eight CPUs and 16 GiB, half of both in use, and a tree of groups on it."""

    def __init__(self, root: Path, tree: dict[str, str], *, affinity: int | None = 8) -> None:
        """Plant the tree."""
        self.root = plant(root, tree)
        self.reports = Reports()
        self.now = 1000.0
        self.affinity = affinity
        self.cgroups = Cgroups(root)
        self.container = self.new()
        self.meter = self.meter_of(self.container)

    def new(self, baseline: list[float] | None = None) -> Container:
        """Return what another keeper would make."""
        return Container(
            self.reports,
            cgroups=self.cgroups,
            baseline=baseline,
            clock=lambda: self.now,
            cpus=lambda: 8,
            affinity=lambda: self.affinity,
            memory_total=lambda: 16 * GIB,
        )

    def meter_of(self, container: Container) -> HostMeter:
        """Return the meter that measures with it."""
        return HostMeter(
            Cpu(self.reports, baseline=(0, 0), times=World((10.0,), (20.0,)), count=World(8)),
            [
                Memory(self.reports, read=World(Extent(16 * GIB, 8 * GIB))),
                Pressure(self.reports, cgroups=self.cgroups, root=self.root),
            ],
            container=container,
        )

    def collect(self, later: dict[str, str] | None = None, *, after: float = 0.0) -> None:
        """Sample twice, with so much time and such a change between them."""
        self.meter.collect()
        self.now += after
        plant(self.root, later or {})
        said = published(host=self.meter.collect())
        self.system, self.shown = figures.system(said), figures.container(said)

    def part(self, name: str) -> dict[str, Any]:
        """Return a part of what is shown of the container."""
        assert self.shown is not None
        found: dict[str, Any] = self.shown[name]
        return found


def system_of(site: Site) -> dict[str, Any]:
    """Return the figures that may be of either."""
    fields = ("cpu_percent", "cpu_count", "memory_total", "memory_used", "memory_available")
    return {name: site.system[name] for name in (*fields, "memory_percent", "source")}
