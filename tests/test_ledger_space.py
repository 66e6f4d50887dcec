"""A full file system: errors and overflow series where other programs die by SIGBUS."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from otelmon import board, faults
from otelmon.board import Published
from otelmon.errors import LedgerError
from otelmon.ledger.fault_counts import LASTING, counted
from otelmon.ledger.instrument import OVERFLOW, Instrument
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import DURATION
from tests.forks import Child, forked
from tests.recorder import GAUGE, Recorder, figures, requests, this_instance
from tests.tmpfs import leave, mounted


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otelmon.ledger.identity import Identity
    from otelmon.ledger.segment import Segment


PAGES = 1024
# More than one process needs that does everything.
ENOUGH = 90
ROUTES = 40
WIDE = Instrument("test.wide", "histogram", "1", "Lanes.", tuple(map(float, range(2000))))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory on a file system of 4 MiB."""
    with mounted(tmp_path / "small", pages=PAGES) as place:
        yield place


def _no_space(error: OSError) -> bool:
    return error.errno == errno.ENOSPC


# -- the danger ----------------------------------------------------------------------------------


def _store(segment: Segment) -> None:
    segment.slot(9).counts[0] = 1


def _load(segment: Segment) -> None:
    assert segment.slot(9).counts[0] == 0


@pytest.mark.parametrize("touch", [_store, _load])
def test_to_touch_what_no_space_was_taken_for_kills(
    small: Path, touch: Callable[[Segment], None]
) -> None:
    """Here a hole cannot even be read: what the other tests of this file survive is deadly."""

    def run() -> None:
        # The death is meant: its stack would look like a failure in the log.
        faulthandler.disable()
        ledger = Ledger()
        ledger.serve(small, this_instance())
        assert ledger.segment is not None
        leave(small, 0)
        touch(ledger.segment)

    assert forked(run) == -signal.SIGBUS


# -- the claim -----------------------------------------------------------------------------------


def test_without_a_page_no_ledger_is_made(small: Path) -> None:
    """ENOSPC is raised, and what was begun does not stand in the way once there is space."""
    leave(small, 0)
    instance = this_instance()

    for _ in range(2):
        with pytest.raises(OSError, match="No space") as caught:
            Child(lambda: Recorder(small, instance))
        assert _no_space(caught.value)

    leave(small, ENOUGH)
    with Child(lambda: Recorder(small, instance)) as worker:
        worker.call(Recorder.serve)
        assert requests(worker.call(Recorder.read)) == {"/": 1}


@pytest.mark.parametrize("pages", [0, 1, 10])
def test_without_space_for_a_slot_it_is_not_claimed(small: Path, pages: int) -> None:
    """The next process gets ENOSPC; those that have a slot count on, and later there is one."""
    instance = this_instance()
    with Child(lambda: Recorder(small, instance)) as first:
        leave(small, pages)
        for _ in range(2):
            with pytest.raises(OSError, match="No space") as caught:
                Child(lambda: Recorder(small, instance))
            assert _no_space(caught.value)
        first.call(Recorder.serve, "/", 3)
        reading = first.call(Recorder.read)
        assert requests(reading) == {"/": 3}
        assert (reading.worker_starts, len(reading.workers)) == (1, 1)

        leave(small, ENOUGH)
        with Child(lambda: Recorder(small, instance)) as second:
            assert second.call(Recorder.slot) == 1
            assert requests(second.call(Recorder.read)) == {"/": 3}


def test_a_dead_owners_slot_needs_no_space_to_be_claimed(small: Path) -> None:
    """However full it is, a process that dies is followed by another."""
    instance = this_instance()
    with Child(lambda: Recorder(small, instance)) as worker:
        worker.call(Recorder.serve, "/", 3)
        worker.kill()
    leave(small, 0)
    for life in (1, 2):
        with Child(lambda: Recorder(small, instance)) as worker:
            assert requests(worker.call(Recorder.read)) == {"/": 2 + life}
            worker.call(Recorder.serve, "/")


# -- while counting ------------------------------------------------------------------------------


def test_when_space_runs_out_new_series_overflow_and_known_ones_count(small: Path) -> None:
    """Nothing is lost: what is new goes to the overflow series until there is space again."""
    instance = this_instance()
    with Child(lambda: Recorder(small, instance)) as worker:
        worker.call(Recorder.serve, "/known")
        worker.call(_fill_up, 8)
        leave(small, 0)
        before = requests(worker.call(Recorder.read))
        for number in range(2000):
            worker.call(Recorder.serve, f"/new/{number}", 2)
            if "None" in requests(worker.call(Recorder.read)):
                break
        worker.call(Recorder.serve, "/known", 5)
        worker.call(Recorder.serve, "/newest", 7)

        full = requests(worker.call(Recorder.read))
        assert "/newest" not in full
        assert full["/known"] == 6
        assert full["None"] == 2 + 7
        assert sum(full.values()) == sum(before.values()) + 2 * (number + 1) + 5 + 7
        assert worker.call(_failures) >= 2

        leave(small, ENOUGH)
        worker.call(Recorder.serve, "/newest", 3)
        assert requests(worker.call(Recorder.read)) == {**full, "/newest": 3}


def _fill_up(recorder: Recorder, series: int) -> None:
    for number in range(series):
        recorder.serve(f"/old/{number}")


def _failures(_: object) -> int:
    found = faults.seen().get("ledger_series")
    return found.times if found else 0


def test_that_space_ran_out_is_counted_although_there_is_none(small: Path) -> None:
    """Everybody learns of it at the next beat, and of what fails for the first time then."""
    instance = this_instance()
    with (
        Child(lambda: Recorder(small, instance)) as worker,
        Child(lambda: Recorder(small, instance)) as other,
    ):
        for each in (worker, other):
            each.call(_beat)
        _use_up(small, worker)
        failures = worker.call(_failures)
        worker.call(_fail, "new")
        for _ in range(3):
            worker.call(_beat)

        found = other.call(_counted)
        assert found.pop(LASTING) == failures
        # The little that a name of its own takes may be left.
        assert found in ({faults.OTHERS: 1}, {"new": 1})
        assert worker.call(_failures) == failures


def _use_up(place: Path, worker: Child[Recorder]) -> None:
    """Leave no space, nor any of what was taken before: neither for lanes nor for names."""
    leave(place, 0)
    for number in range(2000):
        worker.call(Recorder.serve, f"/new/{number}")
        if worker.call(_failures):
            return


def _beat(recorder: Recorder) -> None:
    recorder.ledger.beat(draining=False)


def _counted(recorder: Recorder) -> dict[str, int]:
    return counted(recorder.ledger.read())


def _fail(_: object, kind: str) -> None:
    faults.report(kind, OSError())


def test_the_board_stays_as_it_was_when_there_is_no_space_for_it(small: Path) -> None:
    """A publication that finds no space raises, and the last one can still be read."""
    instance = this_instance()
    with Child(lambda: Recorder(small, instance)) as worker:
        worker.call(_publish, 10)
        leave(small, 0)
        with pytest.raises(OSError, match="No space") as caught:
            worker.call(_publish, 20)
        assert _no_space(caught.value)
        assert worker.call(_published) == 10
        leave(small, 2)
        worker.call(_publish, 20)
        assert worker.call(_published) == 20


def _publish(recorder: Recorder, number: int) -> None:
    assert recorder.ledger.segment is not None
    host = {"x" * 100 + str(n): 1.0 for n in range(number)}
    board.publish(recorder.ledger.segment, Published(1.0, 1, 1.0, 0, host))


def _published(recorder: Recorder) -> int:
    assert recorder.ledger.segment is not None
    found = board.read(recorder.ledger.segment)
    return 0 if found is None else len(found.host)


def test_a_removed_file_of_a_full_file_system_costs_nobody_his_counts(small: Path) -> None:
    """Its maps hold the space: whoever cannot move counts on in memory, and moves later."""
    instance = this_instance()
    with Child(lambda: Recorder(small, instance)) as worker:
        worker.call(Recorder.serve, "/", 3)
        (small / "one.ledger").unlink()
        leave(small, 0)
        worker.call(_beat_now)
        worker.call(Recorder.serve, "/", 2)
        worker.call(Recorder.serve, "/new", 1)
        reading = worker.call(Recorder.read)
        assert (requests(reading), reading.complete) == ({"/": 5, "/new": 1}, False)

        leave(small, ENOUGH)
        worker.call(_beat_now)
        reading = worker.call(Recorder.read)
        assert (requests(reading), reading.complete) == ({"/": 5, "/new": 1}, True)


def _beat_now(recorder: Recorder) -> None:
    recorder.ledger._join_at = 0.0
    recorder.beat()


# -- every level ---------------------------------------------------------------------------------


class _Anything(Recorder):
    """A worker that does all that there is to do, whatever fails, in one ledger after the other."""

    def __init__(self) -> None:
        """Serve nowhere yet."""
        self.ledger = Ledger()

    def move(self, place: Path, instance: Identity) -> None:
        """Serve with the others there if that can be had, else alone."""
        self.ledger = Ledger()
        try:
            self.ledger.serve(place, instance)
        except OSError as error:
            assert _no_space(error)  # noqa: PT017 - any other is a bug
            self.ledger.serve_alone()

    def close(self) -> None:
        """Let go of all memory."""
        self.ledger.close()

    def do_everything(self) -> tuple[int, int]:
        """Count requests on many routes, and beside them what takes much space; return what is read.

        Names and lanes grow over several pages and steps.
        """
        for number in range(ROUTES):
            self.serve(f"/{number}")
            wide = self.ledger.series(WIDE, (("number", number // 4),))
            if wide is not None:
                self.pen.add([(wide.base + WIDE.counts - 1, 1)])
        gauge = self.ledger.series(GAUGE, ())
        if gauge is not None:
            self.pen.values[gauge.base] = 1.0
        with contextlib.suppress(OSError, LedgerError):
            _publish(self, 500)
        self.beat()
        _published(self)
        reading = self.read()
        assert reading.started == reading.finished
        return reading.finished, reading.lost

    def has_overflow(self) -> bool:
        """Tell whether requests overflowed."""
        return (DURATION.name, OVERFLOW) in figures(self.read())


def test_a_process_that_found_no_space_joins_when_there_is_some(small: Path) -> None:
    """Until then it counts for itself and the others' readers know it; then nothing is missing."""
    instance = this_instance()
    with Child(lambda: Recorder(small, instance)) as member, Child(_Anything) as alone:
        member.call(Recorder.serve, "/", 3)
        leave(small, 0)
        alone.call(_Anything.move, small, instance)
        alone.call(Recorder.serve, "/", 4)
        alone.call(_beat_now)
        assert not alone.call(Recorder.read).shared
        reading = member.call(Recorder.read)
        assert (requests(reading), reading.complete) == ({"/": 3}, False)

        leave(small, ENOUGH)
        alone.call(_beat_now)
        for each in (member, alone):
            reading = each.call(Recorder.read)
            assert requests(reading) == {"/": 7}
            assert (len(reading.workers), reading.shared) == (2, True)


def test_nobody_dies_at_any_level(small: Path) -> None:
    """With any number of free pages writers and readers go on, and every request is counted."""
    overflows = []
    with Child(_Anything) as first, Child(_Anything) as second:
        for pages in range(ENOUGH):
            place, instance = small / str(pages), this_instance()
            place.mkdir()
            leave(small, pages)

            first.call(_Anything.move, place, instance)
            assert first.call(_Anything.do_everything) == (ROUTES, 0)
            second.call(_Anything.move, place, instance)
            assert second.call(_Anything.do_everything) in {(ROUTES, 0), (2 * ROUTES, 0)}
            assert first.call(Recorder.read).finished in {ROUTES, 2 * ROUTES}

            overflows.append(first.call(_Anything.has_overflow))
            first.call(_Anything.close)
            second.call(_Anything.close)
            shutil.rmtree(place)

    assert True in overflows
    assert overflows[-1] is False
