"""The host's figures from the sources to the row, and from the row to Prometheus text."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest
from opentelemetry.metrics import Observation
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from otelmon.instruments.cpu import Cpu
from otelmon.instruments.figures import FIGURES, HOST_SIDE
from otelmon.instruments.figures import SHOWN as ALL
from otelmon.instruments.memory import Memory
from otelmon.metrics.host import HostMeter
from otelmon.metrics.host_text import HostExporter


if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.metrics import CallbackOptions, Meter
    from prometheus_client import Metric

    from otelmon.instruments.figures import Report


ROW: dict[str, int | float | None] = {
    "cpu_percent": 25.5,
    "cpu_count": 8,
    "memory_total": 17_179_869_184,
    "memory_used": 8_589_934_592,
    "memory_percent": 50.0,
    "memory_available": 8_589_934_592,
    "disk_total": 500_000_000_000,
    "disk_used": 300_000_000_000,
    "disk_percent": 60.1,
    "disk_free": 200_000_000_000,
    "network_bytes_sent": 1_024_000,
    "network_bytes_recv": 2_048_000,
    "load_avg": 1.5,
    "process_count": 150,
    "thread_count": 300,
}
SHOWN = {
    "system_cpu_usage_percent": 25.5,
    "system_cpus": 8,
    "system_memory_total_bytes": 17_179_869_184,
    "system_memory_usage_bytes": 8_589_934_592,
    "system_memory_usage_percent": 50.0,
    "system_memory_available_bytes": 8_589_934_592,
    "system_disk_total_bytes": 500_000_000_000,
    "system_disk_usage_bytes": 300_000_000_000,
    "system_disk_usage_percent": 60.1,
    "system_disk_free_bytes": 200_000_000_000,
    "system_network_bytes_sent": 1_024_000,
    "system_network_bytes_recv": 2_048_000,
    "system_load_average": 1.5,
    "system_processes": 150,
    "system_threads": 300,
}
UNKNOWN: dict[str, int | float | None] = dict.fromkeys(figure.field for figure in ALL)


class Extent(NamedTuple):
    """Memory of which a quarter is used."""

    total: int = 16_000
    available: int = 12_000


class Stranger:
    """A source of a gauge that the table does not have, and of a counter by a name it has."""

    def bind(self, meter: Meter) -> None:
        meter.create_observable_gauge("stranger.gauge", [self._one])
        meter.create_counter("system.memory.limit").add(1)

    def _one(self, _: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1)


@pytest.fixture
def report() -> Iterator[Report]:
    """Take reports, of which there must be none at the end: the SDK would swallow an assertion."""
    heard: list[tuple[str, BaseException]] = []
    yield lambda kind, error: heard.append((kind, error))
    assert heard == []


def gone() -> Extent:
    """Fail as psutil does."""
    raise psutil.AccessDenied


def fake_cpu(report: Report, baseline: tuple[float, float] | None = None) -> Cpu:
    """Build one of eight CPUs that have been busy for 30 s and never idle."""
    return Cpu(report, baseline=baseline, times=lambda: (30.0,), count=lambda: 8)


def of_host(**known: float) -> dict[str, int | float | None]:
    """Return a row of which so much is known, of a host whose processes are in no container."""
    sides = {f"{field}_host": value for field, value in known.items()}
    return UNKNOWN | known | sides


def families(text: bytes, *, openmetrics: bool = False) -> dict[str, Metric]:
    """Parse a text by the reference parser of its format."""
    read = read_openmetrics if openmetrics else read_text
    found: list[Metric] = list(read(text.decode() + "# EOF\n"))
    by_name = {family.name: family for family in found}
    assert len(by_name) == len(found)
    return by_name


def values(text: bytes, *, openmetrics: bool = False) -> dict[str, float]:
    """Parse a text whose families have one sample each, without labels."""
    samples = [
        sample
        for family in families(text, openmetrics=openmetrics).values()
        for sample in family.samples
    ]
    assert all(sample.labels == {} for sample in samples)
    found = {sample.name: sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def run_python(script: str) -> str:
    """Run a script in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_a_row_has_every_field_and_none_for_what_is_unknown(report: Report) -> None:
    """Without sources, and at the first look at the CPU, fields are there and None."""
    meter = HostMeter(fake_cpu(report))
    assert meter.collect() == of_host(cpu_count=8)


def test_a_row_shows_percent_for_what_gauges_observe_as_fractions(report: Report) -> None:
    """Numbers come through the SDK unchanged, whole ones whole."""
    meter = HostMeter(fake_cpu(report, (10.0, 10.0)), [Memory(report, read=Extent)])
    row = meter.collect()
    assert row == of_host(
        cpu_percent=100.0,
        cpu_count=8,
        memory_total=16_000,
        memory_used=4_000,
        memory_percent=25.0,
        memory_available=12_000,
    )
    assert isinstance(row["memory_total"], int)


def test_a_source_that_raises_leaves_the_others_in_the_row(report: Report) -> None:
    """Its fields are None, the rest is measured, and one report is made."""
    heard: list[str] = []
    broken = Memory(lambda kind, _: heard.append(kind), read=gone)
    meter = HostMeter(fake_cpu(report, (0.0, 0.0)), [broken])
    rows = [meter.collect(), meter.collect()]
    assert rows[0] == of_host(cpu_percent=100.0, cpu_count=8)
    assert rows[1]["memory_total"] is None
    assert heard == ["host_memory"]


def test_instruments_of_others_do_not_enter_the_row(report: Report) -> None:
    """Only gauges of the table become fields."""
    assert HostMeter(fake_cpu(report), [Stranger()]).collect() == of_host(cpu_count=8)


def test_this_machine_is_measured_in_full(report: Report) -> None:
    """On Linux nothing is unknown once there is a baseline, and nothing fails."""
    meter = HostMeter.of_this_machine(report, baseline=(0.0, 0.0))
    row = meter.collect()
    assert row.keys() == UNKNOWN.keys()
    assert list(row)[: len(ROW)] == list(ROW)
    sides = [figure.field for figure in HOST_SIDE]
    assert None not in [row[field] for field in (*ROW, *sides)]
    assert row["memory_total_host"] == psutil.virtual_memory().total
    assert row["disk_percent"] == pytest.approx(psutil.disk_usage(".").percent, abs=0.5)


def test_the_disk_is_that_of_the_path_given() -> None:
    """A path of another filesystem gives that one's figures; one that is not there, none."""
    heard: list[str] = []
    meter = HostMeter.of_this_machine(lambda kind, _: heard.append(kind), disk_path="/none/such")
    assert meter.collect()["disk_total"] is None
    assert heard == ["host_disk"]


def test_a_baseline_survives_its_way_through_json(report: Report) -> None:
    """A new meter goes on where another stopped: its first row has a CPU share."""
    before = HostMeter.of_this_machine(report)
    assert before.baseline is None
    assert before.collect()["cpu_percent"] is None
    handed_over = json.loads(json.dumps(before.baseline))
    after = HostMeter(Cpu(report, baseline=handed_over, times=lambda: (1e12,), count=lambda: 8))
    assert after.collect()["cpu_percent"] == 100.0
    assert after.baseline == (1e12, 1e12)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_figure_is_shown_under_its_prometheus_name(openmetrics: bool) -> None:
    """The names and values are exact in both formats: no suffix, no label, no further family."""
    text = HostExporter(lambda: ROW).text(openmetrics=openmetrics)
    assert values(text, openmetrics=openmetrics) == SHOWN


@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_family_is_a_gauge_with_a_help_text(openmetrics: bool) -> None:
    """TYPE and HELP are there for each, and no unit is declared."""
    text = HostExporter(lambda: ROW).text(openmetrics=openmetrics)
    for family in families(text, openmetrics=openmetrics).values():
        assert family.type == "gauge"
        assert family.documentation
        assert family.unit == ""


def test_openmetrics_leaves_its_end_to_whoever_appends() -> None:
    """The text ends with a whole line and has no EOF mark."""
    text = HostExporter(lambda: ROW).text(openmetrics=True)
    assert b"EOF" not in text
    assert text.endswith(b"\n")


def test_unknown_and_missing_figures_are_left_out() -> None:
    """None and an absent field show no family; a zero is shown."""
    row = {"cpu_percent": None, "memory_used": 0, "worker_count": 4}
    assert values(HostExporter(lambda: row).text(openmetrics=False)) == {
        "system_memory_usage_bytes": 0.0
    }


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("row", [{}, UNKNOWN], ids=["empty", "unknown"])
def test_nothing_known_is_an_empty_text(
    row: dict[str, int | float | None], openmetrics: bool
) -> None:
    """The SDK hands over nothing at all then; the text is empty and whole."""
    assert HostExporter(lambda: row).text(openmetrics=openmetrics) == b""


def test_each_text_shows_the_row_of_its_moment() -> None:
    """The row is read once for each text, and nothing of the one before stays."""
    rows: Iterator[dict[str, int | float | None]] = iter(
        [{"cpu_percent": 1.0, "load_avg": 2.0}, {"cpu_percent": 3.0}]
    )
    exporter = HostExporter(lambda: next(rows))
    assert values(exporter.text(openmetrics=False)) == {
        "system_cpu_usage_percent": 1.0,
        "system_load_average": 2.0,
    }
    assert values(exporter.text(openmetrics=True), openmetrics=True) == {
        "system_cpu_usage_percent": 3.0
    }


def test_what_reading_raises_reaches_the_caller_and_the_next_text_works() -> None:
    """No lock is left behind by a row that cannot be read."""
    rows: list[dict[str, int | float | None]] = []
    exporter = HostExporter(lambda: rows[0])
    with pytest.raises(IndexError):
        exporter.text(openmetrics=False)
    rows.append({"cpu_count": 2})
    assert values(exporter.text(openmetrics=False)) == {"system_cpus": 2}


def test_a_row_goes_from_the_meter_to_the_text_through_json(report: Report) -> None:
    """What one process measures another shows: the same numbers under the other names."""
    row = HostMeter.of_this_machine(report, baseline=(0.0, 0.0)).collect()
    board = json.loads(json.dumps(row))
    shown = values(HostExporter(lambda: board).text(openmetrics=False))
    known = {figure.prometheus: row[figure.field] for figure in ALL}
    assert shown == {name: value for name, value in known.items() if value is not None}
    assert shown.keys() > {figure.prometheus for figure in FIGURES}


def test_promtool_finds_no_fault() -> None:
    """Prometheus's own checker accepts names, help texts and types without a remark."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=HostExporter(lambda: ROW).text(openmetrics=False),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_texts_of_threads_at_one_time_are_whole_and_of_one_row() -> None:
    """Each of 800 texts has every family once, and all its values are of one reading."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    counter = iter(range(1, 1_000_000))
    exporter = HostExporter(lambda: dict.fromkeys(ROW, next(counter)))
    texts: list[bytes] = []

    def scrape() -> None:
        texts.extend(exporter.text(openmetrics=False) for _ in range(200))

    workers = [threading.Thread(target=scrape) for _ in range(4)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    finally:
        sys.setswitchinterval(before)
    assert len(texts) == 800
    shown = [values(text) for text in texts]
    assert all(found.keys() == SHOWN.keys() for found in shown)
    assert {len(set(found.values())) for found in shown} == {1}
    assert len({found["system_cpus"] for found in shown}) == 800


def test_neither_class_starts_a_thread(report: Report) -> None:
    """The kernel's list of this process's threads has no more of them than before."""
    tasks = Path("/proc/self/task")
    before = set(tasks.iterdir())
    meter, exporter = HostMeter.of_this_machine(report), HostExporter(lambda: ROW)
    meter.collect()
    exporter.text(openmetrics=True)
    # Of those that other tests began, one may end meanwhile.
    assert set(tasks.iterdir()) <= before


def test_letting_go_frees_the_provider_at_once() -> None:
    """No cycle holds it, so a forked child that forgets it keeps nothing of the SDK alive."""
    exporter = HostExporter(lambda: ROW)
    held = weakref.ref(exporter._provider)
    gc.disable()
    try:
        del exporter
        assert held() is None
    finally:
        gc.enable()


def test_the_environment_cannot_break_or_widen_it(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad exemplar filter is not read, and the SDK's figures of itself stay out."""
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "nonsense")
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    exporter, meter = HostExporter(lambda: ROW), HostMeter(fake_cpu(report))
    for _ in range(2):
        assert values(exporter.text(openmetrics=False)) == SHOWN
        assert meter.collect()["cpu_count"] == 8


def test_a_disabled_sdk_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED has its standard meaning, and nothing fails."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert HostExporter(lambda: ROW).text(openmetrics=False) == b""


def test_measuring_comes_without_the_sdk() -> None:
    """A keeper whose process answers no scrape does not have the SDK in its memory."""
    script = """
import sys
from otelmon.metrics.host import HostMeter

HostMeter.of_this_machine(print).collect()
print({"opentelemetry.sdk", "prometheus_client"} & set(sys.modules))
"""
    assert run_python(script) == "set()\n"


def test_the_table_comes_without_psutil_and_sdk() -> None:
    """Whoever only needs the names does not pay for measuring."""
    script = """
import sys
import otelmon.instruments.figures
print({"psutil", "opentelemetry.sdk", "prometheus_client"} & set(sys.modules))
"""
    assert run_python(script) == "set()\n"


def test_a_forked_child_builds_its_own() -> None:
    """Beside those of its parent, which it leaves alone, and with the parent's baseline."""
    script = """
import os
from otelmon.metrics.host import HostMeter
from otelmon.metrics.host_text import HostExporter

def report(kind, error):
    raise error

meter = HostMeter.of_this_machine(report)
exporter = HostExporter(meter.collect)
exporter.text(openmetrics=False)
pid = os.fork()
mine = HostMeter.of_this_machine(report, baseline=(0.0, 0.0))
text = HostExporter(mine.collect).text(openmetrics=False)
assert text.count(b"# TYPE") >= 15, text
if pid:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    print("both")
"""
    assert run_python(script) == "both\n"


def test_true_threads_and_greenlets_share_an_exporter() -> None:
    """Under gevent a real thread and four greenlets each get 100 whole texts, and all end."""
    script = """
from gevent import monkey
monkey.patch_all()
import gevent
from otelmon import threads
from otelmon.metrics.host import HostMeter
from otelmon.metrics.host_text import HostExporter

def report(kind, error):
    raise error

row = HostMeter.of_this_machine(report, baseline=(0.0, 0.0)).collect()
exporter = HostExporter(lambda: row)
whole = exporter.text(openmetrics=False)
same = []

def scrape():
    for _ in range(100):
        same.append(exporter.text(openmetrics=False) == whole)
        gevent.sleep(0)

def scrape_and_measure():
    HostMeter.of_this_machine(report).collect()
    for _ in range(100):
        same.append(exporter.text(openmetrics=False) == whole)

threads.start(scrape_and_measure)
gevent.joinall([gevent.spawn(scrape) for _ in range(4)])
while len(same) < 500:
    gevent.sleep(0.01)
print(set(same), whole.count(b"# TYPE") >= 15)
"""
    assert run_python(script) == "{True} True\n"
