"""A process measures itself: each source in a world that is made for it, and what its slot says."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from otelmon import faults
from otelmon.errors import OtelmonError
from otelmon.instruments import process
from otelmon.instruments.garbage import Garbage
from otelmon.instruments.proc_self import CpuTime, Files, Proportional, Status
from otelmon.instruments.process import SYSTEM, USER, Figure, of_generation
from otelmon.instruments.runtime import Runtime
from otelmon.ledger.ledger import Ledger
from otelmon.metrics import processes
from tests.sources import Counts
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Mapping


PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
# A name may hold blanks and brackets; 100 s after boot, 7 threads.
STAT = f"4711 (a (b) c) S 1 1 1 0 -1 0 0 0 0 0 50 25 0 0 20 0 7 0 {100 * TICKS} 1 1 0\n"
ROLLUP = "00-01 ---p 00000000 00:00 0 [rollup]\nRss: 99 kB\nPss:   64 kB\nPss_Dirty: 1 kB\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Make a /proc of one process."""
    own = tmp_path / "self"
    (own / "fd").mkdir(parents=True)
    (own / "stat").write_text(STAT)
    (own / "statm").write_text("5000 300 20 1 0 99 0\n")
    (own / "smaps_rollup").write_text(ROLLUP)
    return tmp_path


class Said:
    """A source that says what the test sets, or raises it."""

    kind = "test_source"

    def __init__(self) -> None:
        self.said: Mapping[Figure, float | None] | Exception = {}
        self.ended = self.forgotten = False

    def read(self) -> Mapping[Figure, float | None]:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    def forget(self) -> None:
        self.forgotten = True

    def close(self) -> None:
        self.ended = True


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestSources:
    """What each of them reads."""

    def test_the_status_is_that_of_the_two_files(self, proc: Path) -> None:
        """Pages are bytes, ticks are seconds, and a process's start does not move with the clock."""
        clock = Clock()
        status = Status(proc=proc, clock=lambda: int(clock.now * 1e9), since_boot=lambda: 160.0)
        clock.now = 1_000_060.0
        first = dict(status.read())
        clock.now = 2_000_000.0

        assert first == {
            Figure(process.RESIDENT): 300 * PAGE,
            Figure(process.VIRTUAL): 5000 * PAGE,
            Figure(process.THREADS): 7,
            Figure(process.STARTED): 1_000_000.0,
            Figure(process.UPTIME): 60.0,
        }
        assert status.read()[Figure(process.STARTED)] == 1_000_000.0
        status.forget()
        assert status.read()[Figure(process.STARTED)] == 1_999_940.0

    @pytest.mark.parametrize("said", ["", "4711 (x) S 1 2 3", "4711"])
    def test_words_that_nobody_knows_are_no_figures(self, proc: Path, said: str) -> None:
        """A file of another form raises, and nothing is made up."""
        (proc / "self/stat").write_text(said)
        with pytest.raises(OtelmonError, match="24 fields"):
            Status(proc=proc).read()

    def test_cpu_time_is_of_both_modes_and_its_use_of_the_time_between(self) -> None:
        """Half a second in user and in system mode within two seconds is half a CPU."""
        clock, times = Clock(), [3.0, 1.0]
        cpu = CpuTime(times=lambda: times, clock=clock)
        assert cpu.read() == {USER: 3.0, SYSTEM: 1.0, Figure(process.CPU_USAGE): None}
        clock.now, times[:] = 2.0, [3.5, 1.5]
        assert cpu.read()[Figure(process.CPU_USAGE)] == 0.5
        # No time between two readings says nothing.
        assert cpu.read()[Figure(process.CPU_USAGE)] is None
        cpu.forget()
        clock.now = 3.0
        assert cpu.read()[Figure(process.CPU_USAGE)] is None

    def test_files_are_counted_where_the_kernel_does_not(self, proc: Path) -> None:
        """Before Linux 6.2 the directory has no size: its entries count, without the one that asks."""
        # Threads and files come and go, namespaces do not.
        entries = Path("/proc/self/ns")
        (proc / "self/fd").rmdir()
        (proc / "self/fd").symlink_to(entries)
        found = Files(proc=proc, limit=lambda: None).read()
        assert entries.stat().st_size == 0
        assert found[Figure(process.FILES)] == len(list(entries.iterdir())) - 1
        assert found[Figure(process.FILES_LIMIT)] is None

    def test_files_are_those_of_this_process(self) -> None:
        """Ten more files are ten more."""
        files = Files()

        def are_ten_more() -> bool:
            # A thread of another test's may close one meanwhile.
            before = files.read()[Figure(process.FILES)]
            pipes = [os.pipe() for _ in range(5)]
            after = files.read()[Figure(process.FILES)]
            for end in itertools.chain.from_iterable(pipes):
                os.close(end)
            assert before is not None
            return after == before + 10

        assert until(are_ten_more)

    def test_all_pages_are_walked_through_once_a_minute(self, proc: Path) -> None:
        """Between two looks the last one's answer stands."""
        clock = Clock()
        source = Proportional(proc=proc, clock=clock)
        assert source.read() == {Figure(process.PROPORTIONAL): 64 * 1024}
        (proc / "self/smaps_rollup").write_text(ROLLUP.replace("64", "65"))
        clock.now = 59.0
        assert source.read() == {Figure(process.PROPORTIONAL): 64 * 1024}
        clock.now = 60.0
        assert source.read() == {Figure(process.PROPORTIONAL): 65 * 1024}
        (proc / "self/smaps_rollup").write_text("Rss: 1 kB\n")
        clock.now = 120.0
        with pytest.raises(ValueError, match="no line for Pss"):
            source.read()
        # What could not be looked at is not known; it is looked at again in its turn.
        assert source.read() == {Figure(process.PROPORTIONAL): None}

    def test_the_real_ones_say_what_the_kernel_says_to_others(self) -> None:
        """Threads and start are psutil's to the digit, memory and CPU time nearly."""
        own = psutil.Process()
        assert until(lambda: Status().read()[Figure(process.THREADS)] == own.num_threads())
        said = {**Status().read(), **CpuTime().read(), **Files().read()}
        assert said[Figure(process.RESIDENT)] == pytest.approx(own.memory_info().rss, rel=0.02)
        assert said[Figure(process.STARTED)] == pytest.approx(own.create_time(), abs=2)
        assert said[Figure(process.FILES_LIMIT)] == own.rlimit(psutil.RLIMIT_NOFILE)[0]
        assert said[USER] == pytest.approx(own.cpu_times().user, abs=0.5)


class TestSlot:
    """What comes of it in the ledger."""

    def test_what_is_of_the_moment_is_said_anew_and_taken_back(self) -> None:
        """A value, a zero, nothing: the last is not shown, the zero is."""
        counts, source = Counts(), Said()
        runtime = Runtime(counts.ledger, [source])
        shown = []
        for value in (7, 0, None):
            source.said = {Figure(process.THREADS): value}
            runtime.measure()
            shown.append(processes.by_slot(counts.read())[0]["threads"])
        assert shown == [7, 0, None]

    def test_what_is_counted_grows_by_what_it_has_grown(self) -> None:
        """To the microsecond; an amount that is less than before adds nothing."""
        counts, source = Counts(), Said()
        runtime = Runtime(counts.ledger, [source])
        for seconds in (1.25, 1.25, 0.5, 2.000001):
            source.said = {USER: seconds}
            runtime.measure()
        assert processes.by_slot(counts.read())[0]["cpu_seconds"] == 2.000001

    def test_a_source_that_fails_takes_its_figures_with_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One log line for each time that it begins; the others go on; it comes back."""
        counts, source, other = Counts(), Said(), Said()
        other.kind = "other_source"
        runtime = Runtime(counts.ledger, [source, other])
        source.said = {Figure(process.THREADS): 7}
        runtime.measure()
        source.said = psutil.AccessDenied()
        other.said = {Figure(process.FILES): 3}
        runtime.measure()
        runtime.measure()
        failed = processes.by_slot(counts.read())[0]

        assert (failed["threads"], failed["open_fds"]) == (None, 3)
        assert [record.getMessage().split()[0] for record in caplog.records] == ["test_source"]
        assert faults.seen()["test_source"].times == 1
        source.said = {Figure(process.THREADS): 8}
        runtime.measure()
        assert processes.by_slot(counts.read())[0]["threads"] == 8

    def test_without_proc_all_that_it_tells_is_null(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As on macOS: CPU time and the collector are known, and each of the others is one line."""
        nowhere = tmp_path / "none"
        counts = Counts()
        sources = (
            *(CpuTime(), Status(proc=nowhere), Files(proc=nowhere), Garbage()),
            Proportional(proc=nowhere),
        )
        runtime = Runtime(counts.ledger, sources)
        for _ in range(3):
            runtime.measure()
        runtime.close()
        found = processes.by_slot(counts.read())[0]

        unknown = {name for name, value in found.items() if value is None}
        assert unknown == {
            *("memory_rss", "memory_pss", "memory_virtual", "threads", "open_fds", "max_fds")
        }
        assert found["cpu_seconds"] > 0
        assert found["gc"]["0"]["collections"] >= 0
        kinds = [record.getMessage().split()[0] for record in caplog.records]
        assert kinds == ["process_status", "process_files", "process_pss"]

    def test_nothing_is_measured_before_a_process_serves(self) -> None:
        """Without a slot no source is asked."""
        source = Said()
        source.said = AssertionError()
        Runtime(Ledger(), [source]).measure()
        assert faults.seen() == {}

    def test_a_full_ledger_is_no_place_for_a_process_s_figures(self) -> None:
        """They do not stand for another's in the overflow series."""
        counts, source = Counts(total_limit=1), Said()
        runtime = Runtime(counts.ledger, [source])
        source.said = {Figure(process.THREADS): 7, Figure(process.FILES): 9}
        runtime.measure()
        found = processes.by_slot(counts.read())[0]
        assert (found["threads"], found["open_fds"]) == (7, None)

    def test_a_source_is_given_back(self) -> None:
        """To forget and to close reaches each."""
        source = Said()
        runtime = Runtime(Counts().ledger, [source])
        runtime.forget()
        runtime.close()
        assert source.forgotten
        assert source.ended

    def test_this_process_is_known_in_full(self) -> None:
        """All real sources at once, and not one fails."""
        counts = Counts()
        runtime = Runtime(counts.ledger)
        thread = threading.Thread(target=runtime.measure)
        runtime.measure()
        thread.start()
        thread.join()
        runtime.close()
        found = processes.by_slot(counts.read())[0]

        assert None not in [value for value in found.values() if value != found["cpu_percent"]]
        assert 0 < found["memory_pss"] <= found["memory_rss"] <= found["memory_virtual"]
        assert faults.seen() == {}
        assert of_generation(process.PAUSE, 0).attributes == (("cpython.gc.generation", 0),)
