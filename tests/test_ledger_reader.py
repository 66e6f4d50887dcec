"""Reading the instance: all slots merged, whatever their owners do at that moment."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.ledger import layout, reader, slots
from otelmon.ledger.instrument import Instrument, Series
from otelmon.ledger.keys import Keys
from otelmon.ledger.requests import DURATION, SECONDS
from otelmon.ledger.segment import Segment
from tests.forks import Child
from tests.recorder import COUNTER, GAUGE, Recorder, figures, requests, this_instance, values


if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from _typeshed import TraceFunction

    from otelmon.ledger.identity import Identity
    from otelmon.ledger.pen import Pen
    from otelmon.ledger.reader import Reading


class _Alone:
    """A process that shares nothing, with whatever is wanted in its slot."""

    def __init__(self) -> None:
        self.segment = Segment()
        self.keys = Keys(self.segment, series_limit=1000)
        self.pen: Pen = slots.take_over(self.segment, self.keys, 0, capacity=0)

    def series(self, instrument: Instrument, route: str) -> Series:
        found = self.keys.place(instrument, (("http.route", route),))
        assert found is not None
        slots.take_space(self.segment, 0, found)
        return found

    def read(self) -> Reading:
        return reader.read(self.segment, self.keys, own=0)


# -- one slot ------------------------------------------------------------------------------------


def test_a_new_slot_has_counted_nothing() -> None:
    """Before the first request there is one worker that has done nothing."""
    reading = _Alone().read()

    assert (reading.started, reading.finished, reading.lost, reading.in_flight) == (0, 0, 0, 0)
    assert (reading.worker_starts, reading.worker_deaths) == (1, 0)
    assert figures(reading) == {}
    assert not reading.shared
    assert reading.complete


def test_what_is_neither_finished_nor_lost_is_in_flight() -> None:
    """A worker's requests in flight are those it began and did not end."""
    process = _Alone()
    base = process.series(DURATION, "/").base
    process.pen.add([(layout.LANE_STARTED, 7), (base + 2, 3), (base + len(SECONDS), 1)])

    reading = process.read()

    assert (reading.started, reading.finished, reading.in_flight) == (7, 4, 3)
    assert requests(reading) == {"/": 4}


def test_lanes_that_were_not_copied_at_one_moment_show_no_negative_flight() -> None:
    """A slot that seems to have finished more than it began has nothing in flight."""
    process = _Alone()
    base = process.series(DURATION, "/").base
    process.pen.add([(layout.LANE_STARTED, 1), (base, 3)])

    reading = process.read()

    assert (reading.in_flight, reading.lost, reading.finished) == (0, 0, 3)


def test_the_sum_of_a_histogram_is_no_count() -> None:
    """Nanoseconds in the lane of the sum are not taken for finished requests."""
    process = _Alone()
    base = process.series(DURATION, "/").base
    process.pen.add([(base, 1), (base + len(SECONDS) + 1, 10**15)])

    (series,) = (s for s in process.read().series if s.attributes == (("http.route", "/"),))

    assert process.read().finished == 1
    assert series.total(process.read().lanes) == 10**15
    assert series.buckets(process.read().lanes) == [1] + [0] * len(SECONDS)


def test_a_series_that_nobody_recorded_to_is_zero() -> None:
    """A series behind everything that was copied reads as zeros."""
    histogram = Series(DURATION, (), 5000)

    assert histogram.buckets([1, 2]) == [0] * (len(SECONDS) + 1)
    assert histogram.total([1, 2]) == 0
    assert Series(COUNTER, (), 0).total([5]) == 5


def test_a_worker_is_described_by_its_head() -> None:
    """Capacity, beat, age of the oldest request and draining are as the owner stored them."""
    process = _Alone()
    (worker,) = process.read().workers
    assert (worker.slot, worker.capacity, worker.draining) == (0, None, False)
    assert worker.oldest_age is None

    now = time.monotonic_ns()
    head = process.pen.head
    head[layout.HEAD_CAPACITY], head[layout.HEAD_DRAINING] = 4, 1
    head[layout.HEAD_BEAT], head[layout.HEAD_OLDEST] = now - 3 * 10**9, now - 5 * 10**9
    process.pen.add([(layout.LANE_STARTED, 2)])

    (worker,) = process.read().workers
    assert (worker.capacity, worker.draining, worker.started, worker.in_flight) == (4, True, 2, 2)
    assert worker.beat_age >= 3
    assert worker.oldest_age is not None
    assert worker.oldest_age >= 5


def test_times_of_the_future_are_no_negative_ages() -> None:
    """A beat that was stored after the reading began is of this moment."""
    process = _Alone()
    head = process.pen.head
    head[layout.HEAD_BEAT] = head[layout.HEAD_OLDEST] = time.monotonic_ns() + 10**12
    process.pen.add([(layout.LANE_STARTED, 1)])

    (worker,) = process.read().workers

    assert (worker.beat_age, worker.oldest_age) == (0.0, 0.0)


def test_a_gauge_says_what_its_process_said_last() -> None:
    """A value is read from its own lane, for each slot."""
    process = _Alone()
    one, two = process.series(GAUGE, "/one"), process.series(GAUGE, "/two")
    process.pen.values[one.base], process.pen.values[two.base] = 1.5, -2.0

    assert values(process.read()) == {one.attributes: {0: 1.5}, two.attributes: {0: -2.0}}


def test_a_process_without_a_slot_makes_the_reading_incomplete_while_it_says_so() -> None:
    """It says so every second; some seconds after the last time it is gone."""
    process = _Alone()
    header = process.segment.header

    header[layout.HEADER_PRIVATE_BEAT] = time.monotonic_ns()
    assert not process.read().complete

    header[layout.HEADER_PRIVATE_BEAT] = time.monotonic_ns() - reader.PRIVATE_NS - 1
    assert process.read().complete


def test_more_slots_than_there_are_are_not_read() -> None:
    """A damaged count of slots does not lead readers out of the file."""
    process = _Alone()
    process.segment.header[layout.HEADER_SLOTS_USED] = 10**6
    process.segment._slots = dict.fromkeys(range(layout.SLOTS), process.segment.slot(0))

    assert process.read().worker_starts == layout.SLOTS


def test_a_slot_without_lanes_reads_as_nothing() -> None:
    """A damaged head shows no counts, and stops no reader."""
    process = _Alone()
    process.pen.add([(layout.LANE_STARTED, 3)])
    process.pen.head[layout.HEAD_COUNTS] = 0

    reading = process.read()

    assert (reading.started, reading.in_flight, len(reading.workers)) == (0, 0, 1)


class _Changing(Segment):
    """A segment whose slot gets a new owner while it is read."""

    changes = 0

    def owned_by_another(self, number: int) -> bool:
        """Have another owner the next time, as often as is wanted."""
        if self.changes:
            self.changes -= 1
            self.slot(0).head[layout.HEAD_GENERATION] += 1
            self.slot(0).counts[layout.LANE_STARTED] += 1
        return True


@pytest.mark.parametrize("changes", [1, 3, 1000])
def test_a_slot_that_changes_its_owner_while_it_is_read_is_read_again(changes: int) -> None:
    """What is shown is of one owner; a slot that changes without end stops nobody."""
    segment = _Changing()
    keys = Keys(segment, series_limit=1000)
    slots.take_over(segment, keys, 0, capacity=0)
    segment.changes = changes

    reading = reader.read(segment, keys, own=None)

    if changes < 1000:
        assert (reading.worker_starts, reading.started) == (1 + changes, changes)
    else:
        assert reading.worker_starts > 1


# -- many slots ----------------------------------------------------------------------------------

_ROUTES = ("/a", "/b", "/c")
_SLOT = st.fixed_dictionaries(
    {route: st.lists(st.integers(0, 2**50), max_size=len(SECONDS) + 2) for route in _ROUTES}
)


@given(st.lists(_SLOT, min_size=1, max_size=4), st.integers(0, 40))
def test_slots_are_merged_as_a_loop_merges_them(
    wanted: list[dict[str, list[int]]], other: int
) -> None:
    """Every lane is the sum of its lanes, and finished is the sum of all request buckets."""
    segment = Segment()
    keys = Keys(segment, series_limit=1000)
    segment._slots = {n: Segment().slot(0) for n in range(len(wanted))}
    pens = [slots.take_over(segment, keys, n, capacity=0) for n in range(len(wanted))]
    expected: dict[str, list[int]] = {}
    for route in _ROUTES:
        # Other instruments' lanes lie between those of the requests.
        gap = keys.place(Instrument(route, "histogram", "1", "", (0.5,) * other), ())
        series = keys.place(DURATION, (("http.route", route),))
        assert series is not None
        assert gap is not None
        for pen, slot in zip(pens, wanted, strict=True):
            slots.take_space(segment, pen.number, series)
            pen.add([(gap.base + n, 1) for n in range(gap.instrument.counts)])
            pen.add([(series.base + n, amount) for n, amount in enumerate(slot[route])])
        lanes = [slot[route] + [0] * (len(SECONDS) + 2 - len(slot[route])) for slot in wanted]
        expected[route] = [sum(lane) for lane in zip(*lanes, strict=True)]

    reading = reader.read(segment, keys, own=0)

    found = {
        dict(series.attributes)["http.route"]: reading.lanes[series.base : series.base + 16]
        for series in reading.series
        if series.attributes and series.attributes[0][0] == "http.route"
    }
    assert found == expected
    assert reading.finished == sum(sum(lanes[:-1]) for lanes in expected.values())


# -- owners that come and go ---------------------------------------------------------------------

_VISITS = 3


class _Claiming:
    """A process that claims a slot line by line: before each it waits until it is told to go on."""

    def __init__(self, place: Path, instance: Identity) -> None:
        """Come to the first line."""
        self._there, self._go = threading.Semaphore(0), threading.Semaphore(0)
        self._line: int | None = 0
        self._visits: Counter[int] = Counter()
        self._claim = partial(Recorder, place, instance)
        threading.Thread(target=self._run, daemon=True).start()

    def step(self) -> int | None:
        """Go on to the next line of slots.py and return its number; None at the end of it all."""
        self._go.release()
        assert self._there.acquire(timeout=60)
        return self._line

    def _run(self) -> None:
        self._go.acquire()
        sys.settrace(self._called)
        self.recorder = self._claim()
        sys.settrace(None)
        self._line = None
        self._there.release()

    def _called(self, frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        return self._reached if frame.f_code.co_filename == slots.__file__ else None

    def _reached(self, frame: FrameType, event: str, argument: object) -> TraceFunction:
        self._visits[frame.f_lineno] += event == "line"
        if event == "line" and self._visits[frame.f_lineno] <= _VISITS:
            self._line = frame.f_lineno
            self._there.release()
            self._go.acquire()
        return self._reached


def test_nothing_flickers_while_a_slot_changes_its_owner(tmp_path: Path) -> None:
    """What a dead owner had in flight is lost at once and stays so, at every step of a claim."""
    instance = this_instance()
    with Child(lambda: Recorder(tmp_path, instance)) as watcher:
        with Child(lambda: Recorder(tmp_path, instance)) as dying:
            dying.call(Recorder.serve, "/", 4)
            dying.call(Recorder.begin, 3)
            dying.call(Recorder.gauge, 5.0)
            dying.kill()
        dead = watcher.call(_seen)
        assert dead == {
            "started": 7,
            "finished": 4,
            "lost": 3,
            "in_flight": 0,
            "starts": 2,
            "deaths": 1,
            "workers": 1,
            "values": {},
        }

        with Child(lambda: _Claiming(tmp_path, instance)) as claiming:
            seen: list[dict[str, Any]] = []
            while claiming.call(_Claiming.step):
                seen.append(watcher.call(_seen))
            claimed = {**dead, "starts": 3, "workers": 2}
            assert len(seen) > 30
            assert [now for now in seen if now not in (dead, claimed)] == []
            assert seen == sorted(seen, key=lambda now: now == claimed), "it goes back"
            assert watcher.call(_seen) == claimed

        assert watcher.call(_seen) == {**dead, "starts": 3, "deaths": 2}


def test_a_claim_that_is_cut_off_at_any_line_changes_nothing(tmp_path: Path) -> None:
    """A process that is killed while it claims leaves the slot as dead as it was."""
    instance = this_instance()
    with Child(lambda: Recorder(tmp_path, instance)) as watcher:
        with Child(lambda: Recorder(tmp_path, instance)) as dying:
            dying.call(Recorder.serve, "/", 4)
            dying.call(Recorder.begin, 3)
            dying.kill()
        seen: list[dict[str, Any]] = []
        ended = False
        while not ended:
            with Child(lambda: _Claiming(tmp_path, instance)) as claiming:
                for _ in range(len(seen) + 1):
                    ended = claiming.call(_Claiming.step) is None
                claiming.kill()
            seen.append(watcher.call(_seen))

    counted = [{name: now[name] for name in ("started", "finished", "lost")} for now in seen]
    assert counted == [{"started": 7, "finished": 4, "lost": 3}] * len(seen)
    assert {now["in_flight"] for now in seen} == {0}
    assert {now["workers"] for now in seen} == {1}
    lives = [(now["starts"], now["deaths"]) for now in seen]
    assert lives == sorted(lives)
    assert all(starts == deaths + 1 for starts, deaths in lives)


def _seen(recorder: Recorder) -> dict[str, Any]:
    reading = recorder.read()
    return {
        "started": reading.started,
        "finished": reading.finished,
        "lost": reading.lost,
        "in_flight": reading.in_flight,
        "starts": reading.worker_starts,
        "deaths": reading.worker_deaths,
        "workers": len(reading.workers),
        "values": values(reading),
    }
