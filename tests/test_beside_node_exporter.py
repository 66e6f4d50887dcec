"""The host's figures beside those of Prometheus' node exporter, read within 200 ms.

Each of ours is taken between two scrapes of the exporter's, and must lie between the two, give or
take 2 %: two points for what is a percentage, as 2 % of an idle machine's share is less than a tick
of the kernel's clock. CPU is compared over one stretch of time.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from otelmon.metrics.host import HostMeter
from tests.free_ports import free_port
from tests.gunicorn_server import ask
from tests.scrapes import Samples, samples, total
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


pytestmark = pytest.mark.serial

Row = dict[str, int | float | None]

WITHIN: Final = 0.2
STRETCH: Final = 2.5
HELD: Final = 512 * 2**20
BURN: Final = """
import time
end = time.monotonic() + 60
print("ready", flush=True)
while time.monotonic() < end:
    pass
"""
HOLD: Final = f"""
import sys
held = bytearray({HELD})
held[::4096] = b"x" * len(held[::4096])
print("ready", flush=True)
sys.stdin.read()
"""


class Moment(NamedTuple):
    """Our row, and what the exporter said just before and just after."""

    row: Row
    before: Samples
    after: Samples


class Beside:
    """Both of them."""

    def __init__(self, port: int) -> None:
        """Fail where one of our sources fails."""
        self._port = port
        self.failed: list[str] = []
        self._meter = HostMeter.of_this_machine(
            lambda kind, _: self.failed.append(kind), disk_path="/"
        )

    def scrape(self) -> Samples:
        """Return what the exporter says."""
        return samples(ask(self._port, "/metrics").text)

    def collect(self) -> Row:
        """Return what we say."""
        return self._meter.collect()

    def read(self) -> Moment:
        """Read all three within 200 ms; a scrape that took longer is no moment."""
        found: list[Moment] = []

        def quick() -> bool:
            found[:] = self._quick()
            return bool(found)

        assert until(quick)
        return found[-1]

    def _quick(self) -> list[Moment]:
        """Read all three once; return nothing if it took longer."""
        began = time.monotonic()
        moment = Moment(before=self.scrape(), row=self.collect(), after=self.scrape())
        return [moment] if time.monotonic() - began < WITHIN else []

    def stretch(self) -> tuple[Moment, Moment]:
        """Read twice, and not in between: each look at the CPUs begins a new stretch."""
        found: list[Moment] = []

        def both() -> bool:
            first, due = self.read(), time.monotonic() + STRETCH
            assert until(lambda: time.monotonic() >= due, 60, every=0.05)
            found[:] = [first, *self._quick()]
            return len(found) == 2

        assert until(both, 40)
        first, last = found
        return first, last


@pytest.fixture(scope="module")
def beside() -> Iterator[Beside]:
    """Start an exporter, which shows every filesystem."""
    port = free_port()
    collectors = ("cpu", "meminfo", "filesystem", "diskstats", "netdev", "loadavg")
    command = [
        *("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"),
        *("--collector.disable-defaults", *(f"--collector.{each}" for each in collectors)),
        "--collector.filesystem.fs-types-exclude=^(proc|sysfs)$",
    ]
    exporter = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        both = Beside(port)
        assert until(lambda: answers(both), 60)
        yield both
        assert both.failed == []
    finally:
        exporter.terminate()
        exporter.wait(30)


def answers(both: Beside) -> bool:
    """Tell whether the exporter listens by now."""
    try:
        return bool(both.scrape())
    except (OSError, http.client.HTTPException):
        return False


@contextmanager
def running(script: str, count: int) -> Iterator[None]:
    """Have so many processes do something for as long."""
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True)
        for _ in range(count)
    ]
    try:
        for each in started:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        yield
    finally:
        for each in started:
            each.kill()
            each.communicate()


def agree(ours: float | None, theirs: tuple[float, float], *, points: float = 0.0) -> None:
    """Fail unless ours is between theirs, give or take 2 % or so many points."""
    low, high = min(theirs), max(theirs)
    slack = points or 0.02 * high
    assert ours is not None
    assert low - slack <= ours <= high + slack, (ours, theirs)


def busy(found: Samples) -> tuple[float, float]:
    """Return busy and all seconds of all CPUs; that of guests is counted as the others' too."""
    every = {key: value for key, value in found.items() if key.startswith("node_cpu_seconds_total")}
    idle = sum(value for key, value in every.items() if 'mode="idle"' in key or "iowait" in key)
    return sum(every.values()) - idle, sum(every.values())


def cpu(first: Moment, last: Moment) -> tuple[float, float]:
    """Return the least and the most that the share of the CPUs can be between our two looks, percent.

    Each look is somewhere between two scrapes, and what the CPUs did on the way to it is not known.
    """
    (busy_then, all_then), (busy_by_now, all_by_now) = busy(first.after), busy(last.before)
    (busy_before, all_before), (busy_now, all_now) = busy(first.before), busy(last.after)
    least, most = busy_by_now - busy_then, busy_now - busy_before
    return 100 * least / (all_now - all_before), 100 * most / (all_by_now - all_then)


def of_root(name: str) -> Callable[[Samples], float]:
    """Return how a figure of the filesystem at the root is found."""
    return lambda found: next(
        value
        for key, value in found.items()
        if key.startswith(f"node_filesystem_{name}_bytes") and 'mountpoint="/"' in key
    )


def network(name: str) -> Callable[[Samples], float]:
    """Return how the bytes over all interfaces but loopback are found."""
    return lambda found: sum(
        value
        for key, value in found.items()
        if key.startswith(f"node_network_{name}_bytes_total") and 'device="lo"' not in key
    )


def disks(name: str) -> Callable[[Samples], float]:
    """Return how the bytes over all devices that are disks are found."""
    return lambda found: sum(
        value
        for key, value in found.items()
        if key.startswith(f"node_disk_{name}_bytes_total")
        and Path("/sys/block", key.split('"')[1], "device").exists()
    )


def memory(name: str) -> Callable[[Samples], float]:
    """Return how a figure of the memory is found."""
    return lambda found: total(found, f"node_memory_{name}_bytes")


size, free, avail = of_root("size"), of_root("free"), of_root("avail")
whole, available = memory("MemTotal"), memory("MemAvailable")

THEIRS: Final[dict[str, Callable[[Samples], float]]] = {
    "memory_total_host": whole,
    "memory_used_host": lambda found: whole(found) - available(found),
    "memory_available_host": available,
    "disk_total": size,
    "disk_used": lambda found: size(found) - free(found),
    "disk_free": avail,
    "disk_bytes_read": disks("read"),
    "disk_bytes_written": disks("written"),
    "network_bytes_sent": network("transmit"),
    "network_bytes_recv": network("receive"),
    "load_avg": lambda found: total(found, "node_load1"),
}
PERCENT: Final[dict[str, Callable[[Samples], float]]] = {
    "memory_percent_host": lambda found: 100 * (1 - available(found) / whole(found)),
    "disk_percent": lambda found: (
        100 * (size(found) - free(found)) / (size(found) - free(found) + avail(found))
    ),
}


def compare(first: Moment, last: Moment) -> None:
    """Compare everything."""
    for field, theirs in THEIRS.items():
        agree(last.row[field], (theirs(last.before), theirs(last.after)))
    for field, theirs in PERCENT.items():
        agree(last.row[field], (theirs(last.before), theirs(last.after)), points=2)
    agree(last.row["cpu_percent_host"], cpu(first, last), points=2)


def test_they_agree_on_a_machine_as_it_is(beside: Beside) -> None:
    """Without any load of ours: CPU, memory, disk, network, load."""
    compare(*beside.stretch())


def test_they_agree_while_all_cpus_are_busy(beside: Beside) -> None:
    """One process for each CPU; both then say that there is hardly anything left."""
    cpus = beside.read().row["cpu_count_host"]
    assert isinstance(cpus, int)
    with running(BURN, cpus):
        first, last = beside.stretch()
    compare(first, last)
    share = last.row["cpu_percent_host"]
    assert share is not None
    assert share > 90


def test_they_agree_while_memory_is_taken(beside: Beside) -> None:
    """Half a GiB that a process holds is there for both."""
    before = used(beside)
    with running(HOLD, 1):
        taken = used(beside)
        first, last = beside.stretch()
        held = used(beside)
    given_back = used(beside)
    compare(first, last)
    # Other programs may take or give back much at one of both moments.
    assert max(taken - before, held - given_back) > 0.8 * HELD


def used(beside: Beside) -> float:
    """Return the memory in use."""
    found = beside.collect()["memory_used_host"]
    assert found is not None
    return found


def counted() -> tuple[int, int]:
    """Return processes and threads, by a look at each in /proc."""
    threads = []
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                threads.append(len(list((each / "task").iterdir())))
            except OSError:  # it has ended meanwhile
                continue
    return len(threads), sum(threads)


def test_processes_and_threads_are_those_of_proc(beside: Beside) -> None:
    """Between two looks at all processes that found as many, give or take 2 %."""
    looks: list[tuple[tuple[int, int], Row, tuple[int, int]]] = []

    def as_many() -> bool:
        looks.append((counted(), beside.collect(), counted()))
        return looks[-1][0] == looks[-1][2]

    assert until(as_many)
    before, row, after = looks[-1]
    agree(row["process_count"], (before[0], after[0]))
    agree(row["thread_count"], (before[1], after[1]))
