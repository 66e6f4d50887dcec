"""The container's figures out of recorded trees of control groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

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
    "sys/fs/cgroup/pod/app/memory.max": f"{200 * MIB}\n",
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

NO_PRESSURE = {"some": None, "full": None}


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


def test_version_2_is_shown_exactly(tmp_path: Path) -> None:
    """4 s of CPU in 10 s are 80 % of half a CPU; 50 MiB are not cold of 200 that are allowed."""
    site = Site(tmp_path, V2)
    site.collect(V2_LATER, after=10.0)

    assert system_of(site) == {
        "cpu_percent": 80.0,
        "cpu_count": 0.5,
        "memory_total": 200 * MIB,
        "memory_used": 50 * MIB,
        "memory_available": 150 * MIB,
        "memory_percent": 25.0,
        "source": {"cpu": "container", "memory": "container", "pressure": "container"},
    }
    assert site.shown == {
        "cpu": {"limit": 0.5, "usage": 0.4, "percent": 80.0, "seconds": 16.0},
        "throttling": {"periods": 500, "throttled_periods": None, "throttled_seconds": None},
        "memory": {
            "limit": 200 * MIB,
            "usage": 90 * MIB,
            "working_set": 50 * MIB,
            "available": 150 * MIB,
            "percent": 25.0,
            "oom_kills": 2,
        },
        "pids": {"current": 17, "limit": 100},
        "pressure": {
            "cpu": {"some": 75.5, "full": 12.2},
            "memory": {"some": 1.0, "full": None},
            "io": NO_PRESSURE,
        },
    }
    assert site.system["pressure"] == site.shown["pressure"]
    assert site.reports.heard == []


def test_the_host_stands_beside_the_container(tmp_path: Path) -> None:
    """What the machine says of the same moment is there under names of its own."""
    site = Site(tmp_path, V2)
    site.collect(V2_LATER, after=10.0)

    sides = {name: value for name, value in site.system.items() if name.endswith("_host")}
    assert sides == {
        "cpu_percent_host": 100.0,
        "cpu_count_host": 8,
        "memory_total_host": 16 * GIB,
        "memory_used_host": 8 * GIB,
        "memory_percent_host": 50.0,
        "memory_available_host": 8 * GIB,
    }


def test_throttling_is_that_of_the_group_with_the_quota(tmp_path: Path) -> None:
    """Periods, and time in seconds, of either version."""
    site = Site(tmp_path / "2", V2)
    site.collect()
    assert site.part("throttling") == {
        "periods": 400,
        "throttled_periods": 300,
        "throttled_seconds": 2.5,
    }
    site = Site(tmp_path / "1", V1)
    site.collect()
    assert site.part("throttling") == {
        "periods": 4,
        "throttled_periods": 3,
        "throttled_seconds": 0.25,
    }


def test_version_1_is_shown_exactly(tmp_path: Path) -> None:
    """A group mounted under its name; the memory's limit is one that cannot be seen from here."""
    site = Site(tmp_path, V1)
    site.collect(V1_LATER, after=10.0)

    assert system_of(site) == {
        "cpu_percent": 40.0,
        "cpu_count": 1.5,
        "memory_total": 400 * MIB,
        "memory_used": 200 * MIB,
        "memory_available": 200 * MIB,
        "memory_percent": 50.0,
        "source": {"cpu": "container", "memory": "container", "pressure": None},
    }
    assert site.part("cpu") == {"limit": 1.5, "usage": 0.6, "percent": 40.0, "seconds": 18.0}
    assert site.part("memory")["oom_kills"] == 1
    assert site.part("pids") == {"current": 5, "limit": 64}
    assert site.part("pressure") is None
    assert site.reports.heard == []


def test_a_hybrid_is_shown_exactly(tmp_path: Path) -> None:
    """Each controller where it is: the memory is the container's, the CPU the host's."""
    site = Site(tmp_path, HYBRID, affinity=2)
    site.collect(after=10.0)

    assert system_of(site) == {
        "cpu_percent": 100.0,
        "cpu_count": 8,
        "memory_total": GIB,
        "memory_used": GIB // 4,
        "memory_available": GIB * 3 // 4,
        "memory_percent": 25.0,
        "source": {"cpu": "host", "memory": "container", "pressure": "container"},
    }
    assert set(site.part("cpu").values()) == {None}
    assert site.part("pids") == {"current": None, "limit": None}
    assert site.part("pressure")["io"] == {"some": 3.0, "full": 2.0}
    assert site.reports.heard == []


@pytest.mark.parametrize("tree", [{}, {"proc/self/cgroup": "0::/\n"}], ids=["none", "no mount"])
def test_without_groups_all_is_the_hosts(tmp_path: Path, tree: dict[str, str]) -> None:
    """As on macOS: the pairs of psutil, no container, and no failure."""
    site = Site(tmp_path, tree)
    site.collect()

    assert system_of(site) == {
        "cpu_percent": 100.0,
        "cpu_count": 8,
        "memory_total": 16 * GIB,
        "memory_used": 8 * GIB,
        "memory_available": 8 * GIB,
        "memory_percent": 50.0,
        "source": {"cpu": "host", "memory": "host", "pressure": None},
    }
    assert site.shown is None
    assert site.reports.heard == []


def test_a_container_without_limits_shows_its_use_beside_the_hosts_pair(tmp_path: Path) -> None:
    """Limits that the machine itself is tighter than are none."""
    app = "sys/fs/cgroup/pod/app"
    loose = {
        f"{app}/cpu.max": "900000 100000\n",
        "sys/fs/cgroup/pod/cpu.max": "max 100000\n",
        f"{app}/memory.max": f"{16 * GIB}\n",
    }
    site = Site(tmp_path, V2 | loose)
    site.collect(V2_LATER, after=10.0)

    assert site.system["source"] == {"cpu": "host", "memory": "host", "pressure": "container"}
    assert (site.system["cpu_count"], site.system["memory_total"]) == (8, 16 * GIB)
    assert site.part("cpu") == {"limit": None, "usage": 0.4, "percent": None, "seconds": 16.0}
    assert site.part("memory")["working_set"] == 50 * MIB
    assert site.part("memory")["percent"] is None


def test_affinity_is_a_limit(tmp_path: Path) -> None:
    """A container bound to one CPU has one, whatever its quota: 4 s in 10 s are 40 %."""
    site = Site(tmp_path, V2 | {"sys/fs/cgroup/pod/app/cpu.max": "max 100000\n"}, affinity=1)
    site.collect(V2_LATER, after=10.0)
    assert (site.system["cpu_count"], site.system["cpu_percent"]) == (1, 40.0)


def test_a_limit_of_the_group_above_is_set_against_that_groups_use(tmp_path: Path) -> None:
    """Of a pod that shares its limits between two containers, all that both use counts."""
    pod, app = "sys/fs/cgroup/pod", "sys/fs/cgroup/pod/app"
    shared = {
        f"{app}/cpu.max": "max 100000\n",
        f"{app}/memory.max": "max\n",
        f"{pod}/memory.max": f"{400 * MIB}\n",
        f"{pod}/memory.current": f"{390 * MIB}\n",
        f"{pod}/memory.stat": f"inactive_file {30 * MIB}\n",
        f"{pod}/cpu.stat": "usage_usec 20000000\n",
    }
    site = Site(tmp_path, V2 | shared)
    site.collect(V2_LATER | {f"{pod}/cpu.stat": "usage_usec 39000000\n"}, after=10.0)

    assert (site.system["cpu_count"], site.system["cpu_percent"]) == (2, 95.0)
    assert site.system["memory_percent"] == 90.0
    assert site.system["memory_used"] == 360 * MIB


def test_a_limit_whose_use_is_not_known_is_never_paired_with_the_hosts(tmp_path: Path) -> None:
    """Then there is a total, and no share."""
    site = Site(tmp_path, V2)
    for name in ("memory.stat", "cpu.stat"):
        (tmp_path / "sys/fs/cgroup/pod/app" / name).unlink()
    site.collect(after=10.0)

    assert system_of(site) == {
        "cpu_percent": None,
        "cpu_count": 0.5,
        "memory_total": 200 * MIB,
        "memory_used": None,
        "memory_available": None,
        "memory_percent": None,
        "source": {"cpu": "container", "memory": "container", "pressure": "container"},
    }


def test_the_share_goes_on_from_a_baseline_handed_over(tmp_path: Path) -> None:
    """A new keeper's first sample has a share; without the baseline it has none."""
    site = Site(tmp_path, V2)
    site.meter.collect()
    assert site.container.baseline == (12.0, 1000.0, 0)
    handed = list(site.container.baseline)
    site.now += 10.0
    plant(tmp_path, V2_LATER)

    assert site.meter_of(site.new()).collect()["cpu_percent"] is None
    assert site.meter_of(site.new(handed)).collect()["cpu_percent"] == 80.0


@pytest.mark.parametrize(
    ("later", "after"),
    [("usage_usec 1\n", 10.0), ("usage_usec 16000000\n", 0.0), ("usage_usec 16000000\n", -5.0)],
    ids=["less use", "no time", "time went back"],
)
def test_a_baseline_of_something_else_is_dropped(tmp_path: Path, later: str, after: float) -> None:
    """Another group, or another boot: the share is not known this once."""
    site = Site(tmp_path, V2)
    site.collect({"sys/fs/cgroup/pod/app/cpu.stat": later}, after=after)
    assert site.system["cpu_percent"] is None


def test_a_process_that_is_moved_is_followed(tmp_path: Path) -> None:
    """From the next round on, the figures are of the group in which it then is."""
    site = Site(tmp_path, V2)
    site.collect({"proc/self/cgroup": "0::/pod\n"}, after=10.0)
    assert (site.system["cpu_count"], site.system["cpu_percent"]) == (2, None)
    assert site.system["source"]["memory"] == "host"


BROKEN = {
    "cpu.max": ("container_cpu_limit", "container_cpu", "container_throttling"),
    "cpu.stat": ("container_cpu", "container_throttling"),
    "memory.max": ("container_memory_limit", "container_memory"),
    "memory.current": ("container_memory",),
    "memory.stat": ("container_memory",),
    "memory.events": ("container_oom",),
    "pids.current": ("container_pids",),
    "cpu.pressure": ("container_pressure",),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("rubbish", ["rubbish", "directory"])
def test_a_file_that_fails_is_reported_once_and_the_rest_goes_on(
    tmp_path: Path, name: str, rubbish: str
) -> None:
    """Words of another form and errors of reading alike: null, one report for each reading."""
    lines = {"cpu.stat": "usage_usec -1\nnr_periods x\nthrottled_usec 0x1\n"}
    lines |= {"memory.stat": "inactive_file many\n", "memory.events": "oom_kill \n"}
    path = tmp_path / "sys/fs/cgroup/pod/app" / name
    site = Site(tmp_path, V2)
    path.unlink()
    if rubbish == "directory":
        path.mkdir()
    else:
        path.write_text(lines.get(name, "rubbish here too\n"))
    site.collect(after=10.0)

    assert sorted({kind for kind, _ in site.reports.heard}) == sorted(BROKEN[name])
    assert len(site.reports.heard) == len(BROKEN[name])
    assert site.system["cpu_count_host"] == 8
    assert (site.system["source"]["cpu"] == "host") == (name == "cpu.max")
    assert (site.system["source"]["memory"] == "host") == (name == "memory.max")
