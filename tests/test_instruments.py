"""The sources of the host's figures, each over a world of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import psutil
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from otelmon.instruments.cpu import Baseline, Cpu
from otelmon.instruments.disk import Disk
from otelmon.instruments.figures import FIGURES, figures
from otelmon.instruments.load import Load
from otelmon.instruments.memory import Memory
from otelmon.instruments.network import Network
from otelmon.instruments.processes import Processes
from tests.waiting import until


if TYPE_CHECKING:
    from otelmon.metrics.host import Source


T = TypeVar("T")
Observed = dict[tuple[str, str], float]
"""What was observed, by the gauge's name and its one attribute's value, if it has one."""


class Reports:
    """A report that remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def __call__(self, kind: str, error: BaseException) -> None:
        self.heard.append((kind, repr(error)))


class World(Generic[T]):
    """Answers in their order, the last one again and again; an exception among them is raised."""

    def __init__(self, *answers: T | Exception) -> None:
        self._answers = answers
        self.asked = 0

    def __call__(self, *_: object) -> T:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


class Times(NamedTuple):
    """CPU seconds as Linux has them."""

    user: float = 0.0
    system: float = 0.0
    idle: float = 0.0
    iowait: float = 0.0
    guest: float = 0.0
    guest_nice: float = 0.0


class PlainTimes(NamedTuple):
    """CPU seconds as macOS has them."""

    user: float
    idle: float


class Extent(NamedTuple):
    """Memory."""

    total: int
    available: int


class Space(NamedTuple):
    """A filesystem."""

    total: int
    used: int
    free: int


class Traffic(NamedTuple):
    """An interface."""

    bytes_sent: int
    bytes_recv: int


class Bench:
    """An SDK provider with one source bound, collected on demand."""

    def __init__(self, source: Source) -> None:
        self._reader = InMemoryMetricReader()
        provider = MeterProvider(
            [self._reader], resource=Resource.get_empty(), shutdown_on_exit=False
        )
        source.bind(provider.get_meter("bench"))
        self.units: dict[str, str | None] = {}

    def collect(self) -> Observed:
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        found: Observed = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics:
            assert isinstance(metric.data, Gauge)
            assert metric.description
            self.units[metric.name] = metric.unit
            for point in metric.data.data_points:
                state = "".join(str(value) for value in (point.attributes or {}).values())
                found[metric.name, state] = point.value
        return found


@pytest.fixture
def reports() -> Reports:
    return Reports()


def busy(share: float) -> Observed:
    return {("system.cpu.utilization", ""): share, ("system.cpu.logical.count", ""): 8}


NO_SHARE: Observed = {("system.cpu.logical.count", ""): 8}


def test_figures_have_the_fields_of_the_contract_in_its_order() -> None:
    """The table holds exactly the keys that the JSON object `system` is to show."""
    assert [figure.field for figure in FIGURES] == [
        "cpu_percent",
        "cpu_count",
        "memory_total",
        "memory_used",
        "memory_percent",
        "memory_available",
        "disk_total",
        "disk_used",
        "disk_percent",
        "disk_free",
        "network_bytes_sent",
        "network_bytes_recv",
        "load_avg",
        "process_count",
        "thread_count",
        "disk_bytes_read",
        "disk_bytes_written",
    ]


def test_figures_have_the_prometheus_names_of_the_contract() -> None:
    """The seven promised names stand for the fields that they say."""
    names = {figure.field: figure.prometheus for figure in FIGURES}
    promised = {
        "cpu_percent": "system_cpu_usage_percent",
        "memory_used": "system_memory_usage_bytes",
        "memory_percent": "system_memory_usage_percent",
        "disk_used": "system_disk_usage_bytes",
        "disk_percent": "system_disk_usage_percent",
        "network_bytes_sent": "system_network_bytes_sent",
        "network_bytes_recv": "system_network_bytes_recv",
    }
    assert {field: names[field] for field in promised} == promised
    assert len(set(names.values())) == len(FIGURES)
    assert all(name.startswith("system_") for name in names.values())


def test_figures_are_told_apart_by_gauge_and_attributes() -> None:
    """No two figures share an observation, and figures of one gauge agree on what it is."""
    keys = {(figure.gauge.name, *figure.attributes.items()) for figure in FIGURES}
    gauges = {figure.gauge for figure in FIGURES}
    assert len(keys) == len(FIGURES)
    assert len({gauge.name for gauge in gauges}) == len(gauges)


def test_an_unknown_field_is_refused() -> None:
    """A source cannot ask for a figure that the table does not have."""
    with pytest.raises(KeyError, match="cpu_temperature"):
        figures("cpu_temperature")


def test_a_fraction_is_shown_as_percent_and_all_else_as_it_is() -> None:
    """0.25449 becomes 25.4; bytes stay whole numbers."""
    percent, count = figures("cpu_percent", "memory_total")
    assert percent.shown(0.25449) == 25.4
    assert count.shown(2**60 + 1) == 2**60 + 1


def test_cpu_share_is_that_between_two_readings(reports: Reports) -> None:
    """3 busy of 4 seconds are 0.75: waiting for I/O is idle, a guest's time is in user's."""
    times = World(
        Times(user=10, system=5, idle=80, iowait=5, guest=2, guest_nice=1),
        Times(user=12, system=6, idle=80.5, iowait=5.5, guest=4, guest_nice=1),
    )
    bench = Bench(Cpu(reports, times=times, count=World(8)))
    assert bench.collect() == NO_SHARE
    assert bench.collect() == busy(0.75)
    assert times.asked == 2
    assert bench.units == {"system.cpu.utilization": "1", "system.cpu.logical.count": "{cpu}"}


def test_cpu_share_goes_on_from_a_baseline_handed_over(reports: Reports) -> None:
    """With the baseline of the one before, as a list out of JSON, the first answer is true."""
    before = Cpu(reports, times=World(Times(user=10, idle=90)), count=World(8))
    Bench(before).collect()
    assert before.baseline == Baseline(busy=10, total=100)
    after = Cpu(
        reports, baseline=[10.0, 100.0], times=World(Times(user=11, idle=93)), count=World(8)
    )
    assert Bench(after).collect() == busy(0.25)
    assert after.baseline == (11, 104)


def test_cpu_share_is_unknown_within_one_tick(reports: Reports) -> None:
    """A reading with no time gone by says nothing and leaves the baseline as it is."""
    times = World(Times(user=10, idle=90), Times(user=10, idle=90), Times(user=11, idle=91))
    bench = Bench(Cpu(reports, times=times, count=World(8)))
    assert [bench.collect(), bench.collect(), bench.collect()] == [NO_SHARE, NO_SHARE, busy(0.5)]


def test_cpu_share_starts_anew_when_time_went_back(reports: Reports) -> None:
    """A baseline from before a reboot is dropped, and the next reading is measured from this."""
    times = World(Times(user=1, idle=3), Times(user=2, idle=6))
    bench = Bench(Cpu(reports, baseline=(500.0, 900.0), times=times, count=World(8)))
    assert [bench.collect(), bench.collect()] == [NO_SHARE, busy(0.25)]


@pytest.mark.parametrize(
    ("baseline", "share"), [((1.0, 9.0), 1.0), ((11.0, 9.0), 0.0)], ids=["above", "below"]
)
def test_cpu_share_stays_within_its_bounds(
    reports: Reports, baseline: tuple[float, float], share: float
) -> None:
    """Where single counters went back a little, the share is 1 or 0, not beyond."""
    cpu = Cpu(reports, baseline=baseline, times=World(PlainTimes(10, 0)), count=World(8))
    assert Bench(cpu).collect() == busy(share)


def test_cpu_count_that_is_not_known_is_not_observed(reports: Reports) -> None:
    """psutil's None is no observation, and no failure either."""
    cpu = Cpu(reports, baseline=(0.0, 0.0), times=World(PlainTimes(1, 3)), count=World(None))
    assert Bench(cpu).collect() == {("system.cpu.utilization", ""): 0.25}
    assert reports.heard == []


def test_memory_used_is_what_cannot_be_had(reports: Reports) -> None:
    """One reading gives four figures that agree with one another."""
    read = World(Extent(total=16_000, available=4_000))
    bench = Bench(Memory(reports, read=read))
    assert bench.collect() == {
        ("system.memory.limit", ""): 16_000,
        ("system.memory.usage", "used"): 12_000,
        ("system.memory.utilization", "used"): 0.75,
        ("system.memory.linux.available", ""): 4_000,
    }
    assert read.asked == 1
    assert set(bench.units.values()) == {"By", "1"}


def test_memory_of_no_size_has_no_share(reports: Reports) -> None:
    """Without a total there is no percentage, and nothing is divided by zero."""
    observed = Bench(Memory(reports, read=World(Extent(0, 0)))).collect()
    assert ("system.memory.utilization", "used") not in observed
    assert reports.heard == []


def test_disk_share_leaves_out_the_reserve(reports: Reports) -> None:
    """600 used and 200 free of 1000 are 75 percent, since 200 are for root alone."""
    read = World(Space(total=1_000, used=600, free=200))
    assert Bench(Disk(reports, read=read)).collect() == {
        ("system.filesystem.limit", ""): 1_000,
        ("system.filesystem.usage", "used"): 600,
        ("system.filesystem.usage", "free"): 200,
        ("system.filesystem.utilization", "used"): 0.75,
    }
    assert read.asked == 1


def test_disk_without_space_has_no_share(reports: Reports) -> None:
    """A filesystem of size zero, as those of the kernel, is neither full nor empty."""
    observed = Bench(Disk(reports, read=World(Space(0, 0, 0)))).collect()
    assert ("system.filesystem.utilization", "used") not in observed
    assert reports.heard == []


def test_disk_is_asked_for_the_path_given(reports: Reports) -> None:
    """The path goes to the reader as it is; without one it is the working directory."""
    asked: list[str] = []

    def read(path: str) -> Space:
        asked.append(path)
        return Space(1, 1, 0)

    Bench(Disk(reports, path="/srv/data", read=read)).collect()
    Bench(Disk(reports, read=read)).collect()
    assert asked == ["/srv/data", "."]


def test_network_adds_up_all_but_loopback(reports: Reports) -> None:
    """Loopback by the name of any system is left out; a name that only begins so is not."""
    read = World(
        {
            "lo": Traffic(1_000, 1_000),
            "lo0": Traffic(1_000, 1_000),
            "Loopback Pseudo-Interface 1": Traffic(1_000, 1_000),
            "eth0": Traffic(1, 2),
            "local1": Traffic(10, 20),
        }
    )
    bench = Bench(Network(reports, read=read))
    assert bench.collect() == {
        ("system.network.io", "transmit"): 11,
        ("system.network.io", "receive"): 22,
    }
    assert read.asked == 1


def test_network_with_loopback_alone_is_zero(reports: Reports) -> None:
    """A namespace with nothing but loopback has sent nothing: that is known."""
    observed = Bench(Network(reports, read=World({"lo": Traffic(5, 5)}))).collect()
    assert set(observed.values()) == {0}


def test_network_that_shows_no_interface_is_unknown(reports: Reports) -> None:
    """Not even loopback: the system does not tell, and no zero is made up."""
    nothing: dict[str, Traffic] = {}
    assert Bench(Network(reports, read=World(nothing))).collect() == {}


def test_load_is_the_average_of_one_minute(reports: Reports) -> None:
    """The first of three, as the kernel prints it."""
    observed = Bench(Load(reports, read=World((0.2333984375, 7.0, 9.0)))).collect()
    assert observed == {("system.cpu.load_average.1m", ""): 0.23}


def test_load_is_unknown_where_the_system_has_none(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without os.getloadavg, as on Windows, there is no figure, and one report."""
    monkeypatch.delattr(os, "getloadavg")
    bench = Bench(Load(reports))
    assert [bench.collect(), bench.collect()] == [{}, {}]
    assert [kind for kind, _ in reports.heard] == ["host_load"]


def test_processes_and_threads_are_counted_apart(reports: Reports, tmp_path: Path) -> None:
    """Pids are counted, threads are read from the kernel's line."""
    (tmp_path / "loadavg").write_text("0.61 0.48 0.40 3/486 2217\n")
    pids = World([1, 2, 30])
    bench = Bench(Processes(reports, pids=pids, proc=tmp_path))
    assert bench.collect() == {("system.process.count", ""): 3, ("system.thread.count", ""): 486}
    assert pids.asked == 1


def test_threads_are_unknown_without_proc(reports: Reports, tmp_path: Path) -> None:
    """As on macOS: no count of threads, one report of it, and the processes are still counted."""
    bench = Bench(Processes(reports, pids=World([1, 2]), proc=tmp_path / "none"))
    assert [bench.collect(), bench.collect()] == [{("system.process.count", ""): 2}] * 2
    assert [kind for kind, _ in reports.heard] == ["host_threads"]


def test_a_line_of_another_form_is_a_failure_not_a_number(reports: Reports, tmp_path: Path) -> None:
    """A loadavg that nobody knows is reported, and no thread is made up."""
    (tmp_path / "loadavg").write_text("0.61\n")
    bench = Bench(Processes(reports, pids=World([1]), proc=tmp_path))
    assert bench.collect() == {("system.process.count", ""): 1}
    assert [kind for kind, _ in reports.heard] == ["host_threads"]


def test_a_failing_source_shows_nothing_old(reports: Reports) -> None:
    """What was observed before the failure is not shown again while it lasts."""
    read = World(Extent(100, 50), psutil.AccessDenied(), Extent(100, 25))
    bench = Bench(Memory(reports, read=read))
    first, second, third = bench.collect(), bench.collect(), bench.collect()
    assert first["system.memory.usage", "used"] == 50
    assert second == {}
    assert third["system.memory.usage", "used"] == 75
    assert read.asked == 3


def test_a_failure_is_reported_once_each_time_it_begins(reports: Reports) -> None:
    """Three failures in a row are one report; after a success, the next is another."""
    error = OSError("gone")
    bench = Bench(Load(reports, read=World(error, error, error, (1.0, 1.0, 1.0), error)))
    for _ in range(6):
        bench.collect()
    assert reports.heard == [("host_load", "OSError('gone')")] * 2


@pytest.mark.parametrize("field", ["times", "count"])
def test_one_failing_call_of_the_cpu_leaves_the_other(reports: Reports, field: str) -> None:
    """The share and the number are read apart, and fail apart."""
    times = World[tuple[float, ...]](RuntimeError()) if field == "times" else World(Times(1, 0, 3))
    count = World[int](RuntimeError()) if field == "count" else World(8)
    observed = Bench(Cpu(reports, baseline=(0, 0), times=times, count=count)).collect()
    assert observed == (NO_SHARE if field == "times" else {("system.cpu.utilization", ""): 0.25})
    assert [kind for kind, _ in reports.heard] == [
        "host_cpu" if field == "times" else "host_cpu_count"
    ]


def test_real_memory_agrees_with_proc(reports: Reports) -> None:
    """The total is the kernel's, and available too, between two moments in which little changed."""

    def agree() -> bool:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        kernel = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        observed = Bench(Memory(reports)).collect()
        assert observed["system.memory.limit", ""] == kernel["MemTotal"]
        available = observed["system.memory.linux.available", ""]
        return bool(abs(available - kernel["MemAvailable"]) < 0.05 * kernel["MemTotal"])

    assert until(agree)


def test_real_disk_agrees_with_statvfs(reports: Reports, tmp_path: Path) -> None:
    """The size is the filesystem's."""
    found = os.statvfs(tmp_path)
    observed = Bench(Disk(reports, path=str(tmp_path))).collect()
    assert observed["system.filesystem.limit", ""] == found.f_blocks * found.f_frsize


def test_real_network_agrees_with_proc(reports: Reports) -> None:
    """Between a look at /proc/net/dev before and one after."""
    before = _proc_net_dev()
    observed = Bench(Network(reports)).collect()
    after = _proc_net_dev()
    for column, direction in enumerate(("receive", "transmit")):
        value = observed["system.network.io", direction]
        assert before[column] <= value <= after[column]


def _proc_net_dev() -> tuple[int, int]:
    rows = [line.split(":") for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    outside = [numbers.split() for name, numbers in rows if name.strip() != "lo"]
    return sum(int(row[0]) for row in outside), sum(int(row[8]) for row in outside)


def test_real_load_and_counts_agree_with_proc(reports: Reports) -> None:
    """The load as printed; processes and threads within what may start or end meanwhile."""

    def agree() -> bool:
        # The kernel's is another one every 5 s.
        printed = Path("/proc/loadavg").read_text().split()[0]
        load_avg = Bench(Load(reports)).collect()["system.cpu.load_average.1m", ""]
        return bool(abs(load_avg - float(printed)) < 0.02)

    assert until(agree)
    counts = Bench(Processes(reports)).collect()
    pids = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    assert abs(counts["system.process.count", ""] - len(pids)) <= 50
    # In a container the kernel's word is of the whole machine, so this is a lower bound.
    assert counts["system.thread.count", ""] >= len(pids) - 50


def test_real_cpu_goes_on_from_the_kernel_s_own_ticks(reports: Reports) -> None:
    """The baseline lies between /proc/stat before and after, and a share between 0 and 1."""
    before = _proc_stat()
    cpu = Cpu(reports, baseline=(0.0, 0.0))
    observed = Bench(cpu).collect()
    after = _proc_stat()
    assert cpu.baseline is not None
    assert before - 0.1 <= cpu.baseline.total <= after + 0.1
    assert 0 < observed["system.cpu.utilization", ""] <= 1
    assert observed["system.cpu.logical.count", ""] == os.cpu_count()


def _proc_stat() -> float:
    ticks = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
