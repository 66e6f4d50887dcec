"""Lives and deaths of the processes that share a ledger, and what stays of them."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otelmon.errors import LedgerError
from otelmon.ledger import layout
from otelmon.ledger.instrument import Instrument
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.locks import RangeLocks
from tests.forks import Child, forked
from tests.recorder import COUNTER, Recorder, figures, requests, this_instance, values


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.ledger.reader import Reading


@pytest.fixture
def worker(tmp_path: Path) -> Callable[[], Child[Recorder]]:
    """Return what forks a further worker of one instance."""
    instance = this_instance()
    return lambda: Child(lambda: Recorder(tmp_path, instance))


def _summary(reading: Reading) -> tuple[int, int, int, int]:
    return reading.started, reading.finished, reading.lost, reading.in_flight


def test_every_worker_reads_what_all_have_counted(worker: Callable[[], Child[Recorder]]) -> None:
    """Three workers with three slots, two of whom know the same route, give one answer."""
    with worker() as one, worker() as two, worker() as three:
        one.call(Recorder.serve, "/a", 5)
        two.call(Recorder.serve, "/a", 7)
        three.call(Recorder.serve, "/b", 11)
        three.call(Recorder.begin, 2)

        readings = [each.call(Recorder.read) for each in (one, two, three)]

        assert [requests(reading) for reading in readings] == [{"/a": 12, "/b": 11}] * 3
        assert [_summary(reading) for reading in readings] == [(25, 23, 0, 2)] * 3
        assert {each.call(Recorder.slot) for each in (one, two, three)} == {0, 1, 2}
        assert all(reading.shared and reading.complete for reading in readings)


@pytest.mark.parametrize("end", [Child.kill, Child.exit])
def test_what_the_dead_had_in_flight_is_lost_at_once(
    worker: Callable[[], Child[Recorder]], end: Callable[[Child[Recorder]], None]
) -> None:
    """However a process ends, what it began and did not finish is lost for every reader."""
    with worker() as one, worker() as two, worker() as dying:
        dying.call(Recorder.serve, "/", 10)
        dying.call(Recorder.begin, 4)
        one.call(Recorder.begin)
        end(dying)

        for each in (one, two):
            reading = each.call(Recorder.read)
            assert _summary(reading) == (15, 10, 4, 1)
            assert (reading.worker_starts, reading.worker_deaths) == (3, 1)
            assert len(reading.workers) == 2


def test_what_was_lost_is_counted_once_over_many_lives(
    worker: Callable[[], Child[Recorder]],
) -> None:
    """Owners of one slot die one after the other, each with requests in flight."""
    with worker() as watcher:
        for life in range(1, 6):
            before = watcher.call(Recorder.read)
            with worker() as dying:
                assert dying.call(Recorder.slot) == 1
                assert watcher.call(Recorder.read).lost == before.lost
                dying.call(Recorder.serve, "/", 2)
                dying.call(Recorder.begin, life)
                assert watcher.call(Recorder.read).lost == before.lost
                dying.kill()
            assert watcher.call(Recorder.read).lost == before.lost + life
        with worker() as last:
            for each in (watcher, last):
                assert _summary(each.call(Recorder.read)) == (25, 10, 15, 0)


def test_counts_outlive_their_process_and_values_do_not(
    worker: Callable[[], Child[Recorder]],
) -> None:
    """A dead process leaves its counters, and neither leaves nor hands on its gauges."""
    with worker() as watcher:
        watcher.call(Recorder.gauge, 1.0)
        with worker() as dying:
            dying.call(Recorder.count, 3)
            dying.call(Recorder.gauge, 7.5)
            dying.call(Recorder.gauge, 2.5, (("of", "dying"),))
            seen = values(watcher.call(Recorder.read))
            assert seen == {(): {0: 1.0, 1: 7.5}, (("of", "dying"),): {1: 2.5}}
            dying.kill()
        assert values(watcher.call(Recorder.read)) == {(): {0: 1.0}}

        with worker() as heir:
            assert heir.call(Recorder.slot) == 1
            for each in (watcher, heir):
                assert values(each.call(Recorder.read)) == {(): {0: 1.0}}
                assert figures(each.call(Recorder.read))["test.counter", ()] == (3,)
            heir.call(Recorder.count, 4)
            assert figures(watcher.call(Recorder.read))["test.counter", ()] == (7,)


def test_nothing_falls_while_no_worker_lives(
    tmp_path: Path, worker: Callable[[], Child[Recorder]]
) -> None:
    """An only worker that is recycled again and again leaves its counts to the next one."""
    for life in range(1, 5):
        with worker() as only:
            only.call(Recorder.serve, "/", 10)
            only.call(Recorder.begin)
            only.kill()
        assert len(list(tmp_path.glob("*.ledger"))) == 1
        with worker() as only:
            assert only.call(Recorder.slot) == 0
            assert _summary(only.call(Recorder.read)) == (11 * life, 10 * life, life, 0)


def test_a_worker_is_described_until_it_dies(worker: Callable[[], Child[Recorder]]) -> None:
    """Readers see pid, slot and requests of each live worker, and of no dead one."""
    with worker() as one, worker() as two:
        two.call(Recorder.begin, 2)
        two.call(Recorder.beat)
        seen = {w.slot: (w.pid, w.started, w.in_flight) for w in one.call(Recorder.read).workers}
        assert seen == {0: (one.pid, 0, 0), 1: (two.pid, 2, 2)}

        two.kill()
        assert [w.pid for w in one.call(Recorder.read).workers] == [one.pid]


# -- all slots -----------------------------------------------------------------------------------


def test_when_all_slots_are_taken_the_next_process_is_told_and_harms_nobody(
    tmp_path: Path, worker: Callable[[], Child[Recorder]]
) -> None:
    """With every slot in use one more gets LedgerError; a freed slot can be had again."""
    with worker() as first, Child(lambda: _owner_of_the_rest(tmp_path)) as crowd:
        first.call(Recorder.serve)
        with pytest.raises(LedgerError, match=f"All {layout.SLOTS} slots"):
            worker()
        assert requests(first.call(Recorder.read)) == {"/": 1}

        crowd.kill()
        with worker() as next_:
            assert next_.call(Recorder.slot) == 1


def _owner_of_the_rest(place: Path) -> RangeLocks:
    locks = RangeLocks(place / "one.slots")
    assert all(locks.take(number) for number in range(1, layout.SLOTS))
    return locks


# -- forks ---------------------------------------------------------------------------------------


class _Forking(Recorder):
    """A worker that forks, as an application may."""

    def child_serves(self, route: str) -> int:
        """Fork a child that serves for itself; return its exit code."""

        def serve() -> None:
            pen = self.pen
            self.ledger.forget()
            assert self.ledger.pen is None
            # A request that its parent began, and that the child ends too.
            pen.add([(layout.LANE_STARTED, 100)])
            home = self.ledger._home
            assert home is not None
            self.ledger.serve(*home)
            self.serve(route, 3)
            self.begin()
            assert self.slot() != pen.number
            assert requests(self.read())[route] == 3

        return forked(serve)

    def child_reads(self) -> int:
        """Fork a child that reads and has no slot, while another thread uses the key table."""
        hold = self.ledger._hold
        assert hold is not None
        entered, leave = threading.Event(), threading.Event()

        def use() -> None:
            with hold.keys._changing():
                entered.set()
                leave.wait(60)

        def read() -> None:
            self.ledger.forget()
            reading = self.ledger.read()
            assert reading is not None
            assert requests(reading) == {"/": 5}
            assert [w.pid for w in reading.workers] == [os.getppid()]
            assert self.ledger.series(COUNTER, ()) is None
            self.ledger.close()

        thread = threading.Thread(target=use)
        thread.start()
        assert entered.wait(60)
        code = forked(read)
        leave.set()
        thread.join()
        return code


def test_a_forked_child_counts_in_a_slot_of_its_own(tmp_path: Path) -> None:
    """A worker's child neither writes nor frees its parent's slot, however it ends."""
    instance = this_instance()
    with Child(lambda: _Forking(tmp_path, instance)) as parent:
        parent.call(Recorder.serve, "/", 5)
        parent.call(Recorder.begin, 2)

        assert parent.call(_Forking.child_serves, "/child") == 0

        reading = parent.call(Recorder.read)
        assert requests(reading) == {"/": 5, "/child": 3}
        assert _summary(reading) == (11, 8, 1, 2)
        assert [(w.pid, w.in_flight) for w in reading.workers] == [(parent.pid, 2)]


def test_a_forked_child_can_read_whatever_its_parents_threads_did(tmp_path: Path) -> None:
    """A child without a slot reads its parent's memory, and waits for no thread that is gone."""
    instance = this_instance()
    with Child(lambda: _Forking(tmp_path, instance)) as parent:
        parent.call(Recorder.serve, "/", 5)

        assert parent.call(_Forking.child_reads) == 0


def test_what_a_child_has_got_in_place_of_what_it_inherited_is_left_alone(tmp_path: Path) -> None:
    """As a daemon does it closes all that it has not opened, then opens its own, and serves."""
    worker = Recorder(tmp_path, this_instance())
    home = worker.ledger._home
    assert home is not None

    def serve() -> None:
        worker.ledger.forget()
        mine = _own_descriptors(tmp_path)
        worker.ledger.serve(*home)
        worker.serve("/", 3)
        gc.collect()
        _untouched(mine)
        assert requests(worker.read()) == {"/": 8}

    worker.serve("/", 5)
    try:
        assert forked(serve) == 0
    finally:
        worker.ledger.close()


def test_a_worker_whose_descriptors_were_closed_has_new_ones_with_the_next_beat(
    tmp_path: Path,
) -> None:
    """Nothing is counted twice, and the files that have their numbers since are left alone."""
    with Child(lambda: Recorder(tmp_path, this_instance())) as worker:
        worker.call(Recorder.serve, "/", 5)
        worker.call(_is_closed_under, tmp_path)


def _is_closed_under(worker: Recorder, place: Path) -> None:
    mine = _own_descriptors(place)
    wide = Instrument("test.wide", "histogram", "1", "Lanes.", tuple(map(float, range(20_000))))
    assert worker.ledger.series(wide, ()) is None
    worker.ledger.beat(draining=False)
    worker.serve("/", 3)
    assert worker.ledger.series(wide, ()) is not None
    gc.collect()
    _untouched(mine)
    reading = worker.read()
    assert requests(reading) == {"/": 8}
    assert (reading.shared, reading.lost, len(reading.workers)) == (True, 0, 1)
    worker.ledger.close()
    _untouched(mine)


def _own_descriptors(place: Path) -> dict[int, Path]:
    """Put files of the application's in the place of all that otelmon has open."""
    files = {}
    for entry in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            if str(place) in str(entry.readlink()):
                path = place / f"mine-{entry.name}"
                with path.open("w+b") as file:
                    file.write(b"mine")
                    file.flush()
                    os.dup2(file.fileno(), int(entry.name))
                files[int(entry.name)] = path
    assert len(files) >= 3
    return files


def _untouched(files: dict[int, Path]) -> None:
    for fd, path in files.items():
        assert os.path.samestat(os.fstat(fd), path.stat())
        assert path.read_bytes() == b"mine"


# -- without a file ------------------------------------------------------------------------------


def test_before_it_serves_a_process_has_nothing() -> None:
    """A ledger that nobody serves has no pen, memory or reading, and beats without effect."""
    ledger = Ledger()

    ledger.beat(draining=True)
    ledger.forget()
    ledger.close()

    assert (ledger.pen, ledger.segment, ledger.stem, ledger.read()) == (None, None, None, None)


def test_a_process_that_serves_alone_counts_in_memory_of_its_own() -> None:
    """Without an instance there is one slot, no file, and an end that leaves nothing."""
    ledger = Ledger()
    pen = ledger.serve_alone(capacity=3)
    pen.add([(layout.LANE_STARTED, 2)])
    ledger.beat(draining=True)

    reading = ledger.read()

    assert reading is not None
    assert _summary(reading) == (2, 0, 0, 2)
    assert (reading.shared, reading.workers[0].draining) == (False, True)
    assert ledger.stem is None
    ledger.close()
    assert ledger.read() is None
    pen.add([(layout.LANE_STARTED, 1)])


def test_a_closed_ledger_leaves_its_slot_to_the_next(
    tmp_path: Path, worker: Callable[[], Child[Recorder]]
) -> None:
    """A process that serves no longer frees its slot while it lives."""
    with worker() as watcher, worker() as leaving:
        leaving.call(Recorder.serve, "/", 3)
        stem = leaving.call(_stem)
        leaving.call(_close)

        assert stem == tmp_path / "one.ledger"
        assert [w.slot for w in watcher.call(Recorder.read).workers] == [0]
        with worker() as next_:
            assert next_.call(Recorder.slot) == 1
            assert requests(next_.call(Recorder.read)) == {"/": 3}


def test_a_ledger_that_is_closed_during_its_beat_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends beats no more, whatever its thread was about to do."""
    ledger = Ledger()
    ledger.serve(tmp_path, this_instance())
    assert ledger.segment is not None

    def ended() -> bool:
        ledger.close()
        return False

    monkeypatch.setattr(ledger.segment, "replaced", ended)
    ledger.beat(draining=False)

    assert ledger.pen is None


def _close(recorder: Recorder) -> None:
    recorder.ledger.close()


def _stem(recorder: Recorder) -> Path | None:
    return recorder.ledger.stem
