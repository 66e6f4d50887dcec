"""Recording from threads, signal handlers and GC callbacks: nothing is lost and nothing hangs.

The pen takes no lock where there is a GIL: it relies on when the interpreter lets others run.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from otelmon.ledger import layout
from otelmon.ledger.instrument import OVERFLOW
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.pen import Pen
from otelmon.ledger.segment import Segment
from tests.forks import Child
from tests.recorder import COUNTER


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


LANE = layout.FIRST_LANE
THREADS = 4
ADDS = 100_000
_PAUSE = 5e-5
_DEPTH = 5


@pytest.fixture
def pen() -> Pen:
    """Return a pen on memory of its own."""
    return Pen(0, Segment().slot(0))


@pytest.fixture
def _switching() -> Iterator[None]:
    """Have threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _together(work: Callable[[], object]) -> None:
    """Run *work* in some threads that begin at one moment."""
    begin = threading.Barrier(THREADS)

    def run() -> None:
        begin.wait()
        work()

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("_switching")
def test_threads_lose_nothing(pen: Pen) -> None:
    """Four threads that add to the same lanes, by `add` and by the statement, all count."""

    def record() -> None:
        counts, adds = pen.counts, ((LANE, 1), (LANE + 1, 1_000_003))
        for _ in range(ADDS):
            pen.add(adds)
            with pen.lock:
                counts[LANE] += 1

    _together(record)

    total = THREADS * ADDS
    assert pen.counts[LANE : LANE + 2].tolist() == [2 * total, 1_000_003 * total]


@pytest.mark.usefixtures("_switching")
def test_the_hammer_finds_an_addition_that_can_be_interrupted(pen: Pen) -> None:
    """With a call between reading and storing, the same threads do lose counts."""

    def same(number: int) -> int:
        return number

    def record() -> None:
        counts = pen.counts
        for _ in range(ADDS // 10):
            counts[LANE] = same(counts[LANE]) + 1

    rounds = 0
    deadline = time.monotonic() + 30
    while pen.counts[LANE] == rounds * THREADS * (ADDS // 10) and time.monotonic() < deadline:
        _together(record)
        rounds += 1

    assert pen.counts[LANE] < rounds * THREADS * (ADDS // 10)


def test_the_oldest_request_in_flight_is_the_first_that_has_not_ended(pen: Pen) -> None:
    """It is told while there is one, whatever ended in between."""
    assert pen.oldest() == 0
    pen.live.update({10: None, 20: None, 30: None})
    assert pen.oldest() == 10
    del pen.live[10]
    assert pen.oldest() == 20


def test_requests_that_never_end_are_not_remembered_for_ever(pen: Pen) -> None:
    """Under a server that closes no body the ages are given up, and the memory with them."""
    pen.live.update(dict.fromkeys(range(1, 20_000)))

    assert pen.oldest() == 0
    assert not pen.live


def test_a_pen_that_was_laid_down_writes_nowhere(pen: Pen) -> None:
    """Who still holds it is harmless: any lane takes any store, and the slot stays as it was."""
    slot = pen.counts
    pen.add([(LANE, 5)])

    pen.lay_down()
    pen.add([(LANE, 7), (10**9, 1)])
    pen.counts[LANE] += 1

    assert slot[LANE] == 5
    assert pen.counts[LANE] == 0


# -- interruptions -------------------------------------------------------------------------------


class _Interrupted:
    """A process that records while handlers of its own record: the totals are known."""

    def __init__(self) -> None:
        self.ledger = Ledger(series_limit=200)
        self.ledger.serve_alone()
        # As the requests' instruments have it from the claim on: whoever interrupts a change of
        # the key table can place nothing then.
        assert self.ledger.series(COUNTER, OVERFLOW) is not None

    def record(self, number: int) -> None:
        """Count 3, by its number to one of many series, or to the overflow series."""
        series = self.ledger.series(COUNTER, (("number", number),))
        assert series is not None
        assert self.ledger.pen is not None
        self.ledger.pen.add([(series.base, 3), (LANE, 0)])

    def counted(self) -> tuple[int, int]:
        """Return what was counted and how many series took it."""
        reading = self.ledger.read()
        assert reading is not None
        found = [series for series in reading.series if series.instrument == COUNTER]
        assert len({series.base for series in found}) == len(found)
        return sum(series.total(reading.lanes) for series in found), len(found)


def _interrupted_by_signals(process: _Interrupted) -> tuple[int, int, int]:
    """Record, and read, while a timer's signal handler records; return recordings and totals.

    A handler may be interrupted by the next one, but not without end.
    """
    handled = depth = own = 0
    pause = _PAUSE

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal handled, depth
        handled += 1
        depth += 1
        signal.setitimer(signal.ITIMER_REAL, _PAUSE if depth < _DEPTH else 0)
        process.record(handled % 300)
        depth -= 1
        signal.setitimer(signal.ITIMER_REAL, pause)

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, pause)
    try:
        while min(handled, own) < 2000:
            own += 1
            # Series that are new to both, so that the key table is changed and read all the time.
            process.record(-(own % 300))
            if own % 50 == 0:
                process.counted()
    finally:
        pause = 0.0
        signal.setitimer(signal.ITIMER_REAL, 0)
    return handled + own, *process.counted()


def test_a_signal_handler_that_records_loses_nothing() -> None:
    """Thousands of handlers that interrupt recordings, new series and readings: all is counted."""
    with Child(_Interrupted) as child:
        times, total, series = child.call(_interrupted_by_signals)

    assert total == 3 * times
    assert series == 201


class _Recording:
    """Garbage in a cycle, which records when it is found."""

    def __init__(self, record: Callable[[], None]) -> None:
        self.record = record
        self.cycle = self

    def __del__(self) -> None:
        self.record()


def _interrupted_by_the_collector(process: _Interrupted) -> tuple[int, int, int, int]:
    """Record while GC callbacks and finalizers record."""
    collected = finalized = own = 0

    def callback(phase: str, info: dict[str, int]) -> None:
        nonlocal collected
        collected += 1
        process.record(collected % 300)

    def finalizer() -> None:
        nonlocal finalized
        finalized += 1
        process.record(1000 + finalized % 300)

    gc.callbacks.append(callback)
    gc.set_threshold(3, 1, 1)
    while min(collected, finalized, own) < 2000:
        own += 1
        _Recording(finalizer)
        process.record(-(own % 300))
        if own % 50 == 0:
            process.counted()
    gc.callbacks.remove(callback)
    gc.set_threshold(10**9)
    return collected + finalized + own, *process.counted(), gc.collect()


def test_what_the_garbage_collector_calls_loses_nothing() -> None:
    """GC callbacks and `__del__` that record in the middle of recordings: all is counted."""
    with Child(_Interrupted) as child:
        times, total, series, _ = child.call(_interrupted_by_the_collector)

    assert total == 3 * times
    assert series == 201


def test_threads_place_new_series_together() -> None:
    """Threads that meet the same new series at one moment count all to the same lanes."""
    process = _Interrupted()

    def record() -> None:
        for number in range(300):
            process.record(number)

    _together(record)

    total, series = process.counted()
    assert total == 3 * THREADS * 300
    assert series == 201
    reading = process.ledger.read()
    assert reading is not None
    (overflow,) = (
        s for s in reading.series if s.instrument == COUNTER and s.attributes == OVERFLOW
    )
    assert overflow.total(reading.lanes) == 3 * THREADS * 100
