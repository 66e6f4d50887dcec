"""The container's figures out of recorded trees of control groups."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from opentelemetry.semconv._incubating.metrics import container_metrics

from otelmon.instruments.figures import CONTAINER
from otelmon.metrics.host_text import HostExporter
from otelmon.metrics.rows import of_host
from tests.cgroups import MIB, mounted, plant
from tests.container_site import GIB, HYBRID, V1, V1_LATER, V2, V2_LATER, Site, system_of
from tests.endpoints import ops
from tests.sources import ask, published


if TYPE_CHECKING:
    from pathlib import Path


NO_PRESSURE = {"some": None, "full": None}


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
            "high": 180 * MIB,
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


def test_trees_of_version_1_that_differ_are_not_mixed(tmp_path: Path) -> None:
    """A quota of a group that does not stand in the tree of the CPU time has no share."""
    tree = {
        "proc/self/cgroup": "2:cpu:/pod/app\n1:cpuacct:/app\n",
        "proc/self/mountinfo": mounted(
            ("/sys/fs/cgroup/cpu", "/", "cpu"), ("/sys/fs/cgroup/cpuacct", "/", "cpuacct")
        ),
        "sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us": "100000\n",
        "sys/fs/cgroup/cpu/pod/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu/pod/app/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/pod/app/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpuacct/app/cpuacct.usage": "12000000000\n",
    }
    site = Site(tmp_path, tree)
    site.collect(after=10.0)
    assert (site.system["cpu_count"], site.system["cpu_percent"]) == (1, None)
    assert site.system["source"]["cpu"] == "container"


@pytest.mark.parametrize("words", ["50000\n", "0 100000\n", "50000 0\n", "-1 100000\n", "1 2 3\n"])
def test_a_quota_of_another_form_is_no_limit(tmp_path: Path, words: str) -> None:
    """It is reported, and the CPU is the host's: both its number and its share."""
    site = Site(tmp_path, V2 | {"sys/fs/cgroup/pod/app/cpu.max": words})
    site.collect(V2_LATER, after=10.0)
    assert (site.system["cpu_count"], site.system["cpu_percent"]) == (8, 100.0)
    assert "container_cpu_limit" in [kind for kind, _ in site.reports.heard]


def test_what_is_used_beyond_a_limit_is_all_of_it(tmp_path: Path) -> None:
    """Time that was saved up, and a limit that was lowered below the use: 100 %, and nothing left."""
    app = "sys/fs/cgroup/pod/app"
    site = Site(tmp_path, V2 | {f"{app}/memory.max": f"{40 * MIB}\n"})
    site.collect({f"{app}/cpu.stat": "usage_usec 18000000\n"}, after=10.0)
    assert (site.system["cpu_percent"], site.system["memory_percent"]) == (100.0, 100.0)
    assert site.system["memory_available"] == 0
    assert site.part("cpu")["usage"] == 0.6


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
    "memory.high": ("container_memory_high",),
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


def test_exporters_are_told_of_host_and_container_apart(tmp_path: Path) -> None:
    """In the conventions' names `system` is the host, whatever the JSON shows, and none is twice."""
    site = Site(tmp_path, V2)
    site.meter.collect()
    site.now += 10.0
    plant(tmp_path, V2_LATER)
    found = list(of_host(published(host=site.meter.collect())))
    said = {row.instrument.name: row.value for row in found if not row.attributes}

    assert said["system.memory.limit"] == 16 * GIB
    assert said["system.cpu.logical.count"] == 8
    assert said["container.memory.limit"] == 200 * MIB
    assert said["container.memory.working_set"] == 50 * MIB
    assert said["container.cpu.usage"] == 0.4
    assert said["container.cpu.limit.utilization"] == pytest.approx(0.8)
    pressed = [row.instrument.name for row in found if row.instrument.name.endswith("pressure")]
    assert set(pressed) == {"container.pressure"}
    keys = [(row.instrument.name, row.attributes) for row in found]
    assert len(keys) == len(set(keys))


def test_gauges_have_the_names_of_the_conventions() -> None:
    """Of those that the conventions have, name and unit are the conventions'."""
    gauges = {figure.gauge.name: figure.gauge.unit for figure in CONTAINER}
    promised = {
        container_metrics.CONTAINER_CPU_TIME: "s",
        container_metrics.CONTAINER_CPU_USAGE: "{cpu}",
        container_metrics.CONTAINER_MEMORY_USAGE: "By",
        container_metrics.CONTAINER_MEMORY_WORKING_SET: "By",
        container_metrics.CONTAINER_MEMORY_AVAILABLE: "By",
    }
    assert {name: gauges[name] for name in promised} == promised


def test_prometheus_shows_what_counts_and_both_sides(tmp_path: Path) -> None:
    """The promised names are of the container, with the host's and the container's beside them."""
    site = Site(tmp_path, V2)
    site.meter.collect()
    site.now += 10.0
    plant(tmp_path, V2_LATER)
    row = site.meter.collect()
    text = HostExporter(lambda: row).text(openmetrics=False)
    shown = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if line[0] != "#")

    assert "{" not in "".join(shown)
    assert {name: float(shown[name]) for name in PROMETHEUS} == PROMETHEUS
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


PROMETHEUS = {
    "system_cpu_usage_percent": 80.0,
    "system_cpus": 0.5,
    "system_memory_total_bytes": 200 * MIB,
    "system_memory_usage_bytes": 50 * MIB,
    "system_memory_usage_percent": 25.0,
    "system_host_cpu_usage_percent": 100.0,
    "system_host_cpus": 8,
    "system_host_memory_total_bytes": 16 * GIB,
    "system_container_cpu_limit": 0.5,
    "system_container_cpu_usage_percent": 80.0,
    "system_container_cpu_seconds": 16.0,
    "system_container_memory_working_set_bytes": 50 * MIB,
    "system_container_oom_kills": 2,
    "system_container_pids": 17,
    "system_pressure_cpu_some_percent": 75.5,
}


def test_the_page_has_the_container_and_null_without_one(tmp_path: Path) -> None:
    """`/api/metrics` shows the object beside `system`."""
    site = Site(tmp_path, V2)
    app = ops(said=published(host=site.meter.collect()))
    page = json.loads(ask(app, "/api/metrics").body)
    assert page["container"]["memory"]["oom_kills"] == 2
    assert page["system"]["source"]["memory"] == "container"
    page = json.loads(ask(ops(said=published()), "/api/metrics").body)
    assert page["container"] is None
