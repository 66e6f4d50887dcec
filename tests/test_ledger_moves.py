"""Files that are removed, left behind or cannot be had: processes follow, and say what is missing."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otelmon import faults
from otelmon.errors import LedgerError
from otelmon.ledger import layout, moving
from otelmon.ledger import ledger as ledger_module
from otelmon.ledger.identity import Process
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.locks import RangeLocks
from otelmon.ledger.onlooker import Onlooker
from otelmon.ledger.requests import DURATION
from tests.forks import Child
from tests.recorder import Recorder, figures, requests, this_instance


if TYPE_CHECKING:
    from otelmon.ledger.hold import Hold
    from otelmon.ledger.identity import Identity
    from otelmon.ledger.instrument import Series
    from otelmon.ledger.pen import Taken
    from otelmon.ledger.reader import Reading


GONE = Process(2**22 + 1, 1)  # no process id is as high


class _Follower(Recorder):
    """A worker that serves alone where it cannot serve with the others, as `Serving` does."""

    def __init__(self, place: Path, instance: Identity) -> None:
        self.ledger = Ledger()
        try:
            self.ledger.serve(place, instance)
        except (LedgerError, OSError):
            self.ledger.serve_alone()

    def beat_at_once(self) -> list[str]:
        """Beat, however short ago it was tried before; return what is logged."""
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("otelmon")
        logger.addHandler(handler)
        self.ledger._join_at = 0.0
        self.ledger.beat(draining=False)
        logger.removeHandler(handler)
        return lines

    def failures(self) -> int:
        """Return how often the ledger failed here."""
        found = faults.seen().get("ledger")
        return found.times if found else 0


def _worker(place: Path, name: str = "one", *, server: Process | None = None) -> Child[_Follower]:
    instance = this_instance(name, server=server)
    return Child(lambda: _Follower(place, instance))


def _summary(reading: Reading) -> tuple[int, int, int, int]:
    return reading.started, reading.finished, reading.lost, reading.in_flight


# -- removed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ledger", "all", "directory"])
def test_a_removed_file_is_followed_and_the_counts_are_carried_over(
    tmp_path: Path, how: str
) -> None:
    """Live workers move to a new file with what they counted; in flight is lost, once."""
    place = tmp_path / "place"
    with _worker(place) as one, _worker(place) as two:
        one.call(Recorder.serve, "/a", 5)
        one.call(Recorder.count, 2)
        one.call(Recorder.begin, 2)
        two.call(Recorder.serve, "/a", 7)
        two.call(Recorder.serve, "/b", 1)
        two.call(Recorder.begin, 1)
        _remove(place, how)

        # Until it is noticed they go on in the memory that they have.
        one.call(Recorder.serve, "/a")
        assert requests(two.call(Recorder.read)) == {"/a": 13, "/b": 1}
        for each in (one, two):
            (line,) = each.call(_Follower.beat_at_once)
            assert line == f"This process has moved to the ledger in {place}."
            assert each.call(_Follower.beat_at_once) == []

        for each in (one, two):
            reading = each.call(Recorder.read)
            assert requests(reading) == {"/a": 13, "/b": 1}
            assert figures(reading)["test.counter", ()] == (2,)
            assert _summary(reading) == (17, 14, 3, 0)
            assert reading.complete
        one.call(Recorder.serve, "/c", 2)
        two.kill()
        assert _summary(one.call(Recorder.read)) == (19, 16, 3, 0)


def _remove(place: Path, how: str) -> None:
    if how == "directory":
        shutil.rmtree(place)
    else:
        for path in place.glob("*.ledger" if how == "ledger" else "*"):
            path.unlink()


def test_a_worker_that_starts_after_the_removal_comes_together_with_the_others(
    tmp_path: Path,
) -> None:
    """The new file is one for all, whoever makes it, and no slot of it has two owners."""
    with _worker(tmp_path) as one, _worker(tmp_path) as two:
        one.call(Recorder.serve, "/", 5)
        two.call(Recorder.serve, "/", 7)
        _remove(tmp_path, "ledger")
        with _worker(tmp_path) as three:
            # The locks that one and two still hold are not those of the new file.
            assert three.call(Recorder.slot) == 0
            three.call(Recorder.serve, "/", 11)
            assert requests(three.call(Recorder.read)) == {"/": 11}
            two.call(_Follower.beat_at_once)
            assert requests(three.call(Recorder.read)) == {"/": 18}
            one.call(_Follower.beat_at_once)

            workers = (one, two, three)
            assert {each.call(Recorder.slot) for each in workers} == {0, 1, 2}
            assert [requests(each.call(Recorder.read)) for each in workers] == [{"/": 23}] * 3


def test_a_request_that_is_in_flight_over_a_move_is_lost_and_not_booked(tmp_path: Path) -> None:
    """It was counted as lost, so its end goes nowhere: started is finished and lost."""
    with _worker(tmp_path) as worker:
        worker.call(Recorder.serve, "/", 3)
        assert worker.call(_outlived) == (4, 3, 1, 0)


def _outlived(worker: _Follower) -> tuple[int, int, int, int]:
    pen = worker.pen
    worker.begin()
    worker.ledger.segment.path.unlink()  # type: ignore[union-attr]
    worker.beat_at_once()
    pen.add([(layout.FIRST_LANE, 1)])
    assert worker.pen is not pen
    return _summary(worker.read())


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_process_that_is_killed_while_it_moves_has_lost_no_request(
    tmp_path: Path, done: int
) -> None:
    """What it had not carried over yet is nowhere; who has the slot next is in order."""
    with _worker(tmp_path) as mover:
        mover.call(Recorder.serve, "/a", 5)
        mover.call(Recorder.serve, "/b", 7)
        _remove(tmp_path, "all")
        mover.send(_killed_while_it_moves, done)
        assert mover.wait() == -signal.SIGKILL
    with _worker(tmp_path) as heir:
        moved = (0, 5, 12)[done]
        assert _summary(heir.call(Recorder.read)) == (moved, moved, 0, 0)
        heir.call(Recorder.begin, 2)
        assert _summary(heir.call(Recorder.read)) == (moved + 2, moved, 0, 2)


def _killed_while_it_moves(worker: _Follower, done: int) -> None:
    """Be killed when the counts of so many series of requests are in the new file."""
    move = moving.move

    def cut_short(taken: Taken, known: list[Series], to: Hold) -> None:
        durations = [each for each in known if each.instrument == DURATION]
        used = [each for each in durations if any(each.buckets(taken.counts))]
        move(taken, used[:done], to)
        os.kill(os.getpid(), signal.SIGKILL)

    vars(ledger_module)["move"] = cut_short
    worker.beat_at_once()


def test_where_no_new_file_can_be_had_the_old_memory_is_used_on(tmp_path: Path) -> None:
    """It is logged once, tried again, and no reader takes its figures for the whole."""
    place = tmp_path / "place"
    with _worker(place) as one, _worker(place) as two:
        one.call(Recorder.serve, "/", 5)
        two.call(Recorder.serve, "/", 7)
        shutil.rmtree(place)
        place.touch()

        assert [len(one.call(_Follower.beat_at_once)) for _ in range(3)] == [1, 0, 0]
        assert one.call(_Follower.failures) == 3
        one.call(Recorder.serve, "/", 1)
        reading = one.call(Recorder.read)
        assert requests(reading)["/"] >= 6
        assert not reading.complete

        # Two comes first and finds space again, one is told so by nobody and follows.
        place.unlink()
        two.call(_Follower.beat_at_once)
        assert requests(two.call(Recorder.read)) == {"/": 7}
        one.call(_Follower.beat_at_once)
        for each in (one, two):
            assert requests(each.call(Recorder.read)) == {"/": 13}


def test_a_new_series_of_a_process_that_lost_its_file_harms_nobody(tmp_path: Path) -> None:
    """While it has no file, known series and new ones go on in the memory of the old one."""
    place = tmp_path / "place"
    with _worker(place) as worker:
        worker.call(Recorder.serve, "/known")
        shutil.rmtree(place)
        place.touch()
        worker.call(_Follower.beat_at_once)

        worker.call(Recorder.serve, "/known", 2)
        worker.call(Recorder.serve, "/new", 4)

        assert requests(worker.call(Recorder.read)) == {"/known": 3, "/new": 4}


@pytest.mark.parametrize("spare", range(2, 12))
def test_a_process_that_is_short_of_descriptors_is_in_one_file_at_a_time(
    tmp_path: Path, spare: int
) -> None:
    """With enough of them it follows, else later: no slot is left to a process that is elsewhere."""
    with _worker(tmp_path) as worker:
        worker.call(Recorder.serve, "/", 5)
        _remove(tmp_path, "all")
        moved = worker.call(_follows_with, spare)
        if not moved:
            assert worker.call(_Follower.beat_at_once)
        reading = worker.call(Recorder.read)
        assert requests(reading) == {"/": 5}
        assert (reading.worker_starts, reading.worker_deaths, reading.shared) == (1, 0, True)


def _follows_with(worker: _Follower, spare: int) -> bool:
    """Beat with so many descriptors to spare, of what can be used up; tell whether it moved."""
    segment = worker.ledger.segment
    assert segment is not None
    segment.header[layout.HEADER_SLOTS_USED] = 64  # as if so many had ever lived
    free = sorted(set(range(256)) - {int(fd.name) for fd in Path("/proc/self/fd").iterdir()})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[spare], hard))
    try:
        worker.beat_at_once()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return worker.ledger.segment is not segment


# -- without a slot ------------------------------------------------------------------------------


def test_a_process_without_a_slot_joins_when_there_is_one(tmp_path: Path) -> None:
    """Until then all readers are told that its counts are missing, and then they are there."""
    with _worker(tmp_path) as member:
        member.call(Recorder.serve, "/", 5)
        with Child(lambda: _crowd(tmp_path)) as crowd, _worker(tmp_path) as alone:
            alone.call(Recorder.serve, "/", 7)
            alone.call(Recorder.begin, 2)
            alone.call(Recorder.gauge, 3.0)
            alone.call(_Follower.beat_at_once)

            reading = member.call(Recorder.read)
            assert (requests(reading), reading.complete) == ({"/": 5}, False)
            reading = alone.call(Recorder.read)
            assert (requests(reading), reading.shared, reading.complete) == ({"/": 7}, False, False)

            crowd.kill()
            alone.call(_Follower.beat_at_once)
            for each in (member, alone):
                reading = each.call(Recorder.read)
                assert requests(reading) == {"/": 12}
                assert _summary(reading) == (14, 12, 2, 0)
                assert reading.shared
                assert [w.slot for w in reading.workers] == [0, 1]


def _crowd(place: Path) -> RangeLocks:
    locks = RangeLocks(place / "one.slots")
    assert all(locks.take(number) for number in range(1, layout.SLOTS))
    return locks


def test_between_two_tries_a_process_without_a_slot_only_says_so(tmp_path: Path) -> None:
    """A slot is tried for every few seconds, its absence told with every beat."""
    with _worker(tmp_path) as member:
        with Child(lambda: _crowd(tmp_path)) as crowd, _worker(tmp_path) as alone:
            alone.call(Recorder.beat)
            crowd.kill()
            _be_silent_since_long(tmp_path)
            alone.call(Recorder.beat)

            assert not alone.call(Recorder.read).shared
            assert not member.call(Recorder.read).complete
        assert member.call(Recorder.read).worker_starts == 1


def _be_silent_since_long(place: Path) -> None:
    with (place / "one.ledger").open("r+b") as file:
        file.seek(layout.HEADER_PRIVATE_BEAT * layout.WORD)
        file.write((1).to_bytes(layout.WORD, "little"))


def test_a_process_without_a_slot_writes_into_no_strange_file(tmp_path: Path) -> None:
    """Where something else lies under the instance's name, it is left as it is."""
    (tmp_path / "one.ledger").mkdir()
    with _worker(tmp_path) as alone:
        alone.call(_Follower.beat_at_once)
        (tmp_path / "one.ledger").rmdir()
        (tmp_path / "one.ledger").write_text("mine")
        alone.call(Recorder.beat)
        assert (tmp_path / "one.ledger").read_text() == "mine"


# -- left behind ---------------------------------------------------------------------------------


def _files(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def test_what_a_dead_instance_left_is_removed_by_the_next_to_start(tmp_path: Path) -> None:
    """Without a live slot and a live server a ledger goes, with the locks beside it."""
    with _worker(tmp_path, "dead", server=GONE) as worker:
        worker.call(Recorder.serve)
    (tmp_path / "dead.duty").touch()
    (tmp_path / "dead.port").touch()
    (tmp_path / "notes.txt").touch()

    with _worker(tmp_path, "next"):
        assert _files(tmp_path) == {"lock", "next.ledger", "next.slots", "notes.txt"}


def test_an_instance_whose_server_lives_is_kept(tmp_path: Path) -> None:
    """Between two workers nobody has a slot; the server that will fork the next one lives."""
    with _worker(tmp_path, "resting") as worker:
        worker.call(Recorder.serve, "/", 3)
    with _worker(tmp_path, "next"):
        assert "resting.ledger" in _files(tmp_path)
    with _worker(tmp_path, "resting") as worker:
        assert requests(worker.call(Recorder.read)) == {"/": 3}


def test_an_instance_with_a_live_slot_is_kept(tmp_path: Path) -> None:
    """Workers that outlive their server keep their ledger."""
    with _worker(tmp_path, "orphaned", server=GONE) as worker:
        worker.call(Recorder.serve, "/", 3)
        with _worker(tmp_path, "next"):
            assert "orphaned.ledger" in _files(tmp_path)
        assert requests(worker.call(Recorder.read)) == {"/": 3}
        assert worker.call(_Follower.beat_at_once) == []
    with _worker(tmp_path, "next"):
        assert "orphaned.ledger" not in _files(tmp_path)


def test_an_instance_is_its_new_servers_once_the_old_one_has_ended(tmp_path: Path) -> None:
    """Though a worker of the old one was the last to come, and then nobody lives who has a slot."""
    with _worker(tmp_path) as new:
        new.call(Recorder.serve, "/", 3)
        with _worker(tmp_path, server=GONE) as old:
            old.call(Recorder.serve, "/", 2)
        new.call(Recorder.beat)
    with _worker(tmp_path, "next"):
        assert "one.ledger" in _files(tmp_path)
    with _worker(tmp_path) as worker:
        assert requests(worker.call(Recorder.read)) == {"/": 5}


def test_an_instance_whose_port_is_served_is_kept(tmp_path: Path) -> None:
    """By the process beside the workers, while none of them lives."""
    with _worker(tmp_path, "shown", server=GONE) as worker:
        worker.call(Recorder.serve)
        with Child(lambda: _beside(tmp_path)) as sidecar:
            worker.kill()
            with _worker(tmp_path, "next"):
                assert "shown.ledger" in _files(tmp_path)
            sidecar.kill()
        with _worker(tmp_path, "next"):
            assert "shown.ledger" not in _files(tmp_path)


def _beside(place: Path) -> Onlooker:
    onlooker = Onlooker(place, this_instance("shown", server=GONE))
    onlooker.follow()
    assert onlooker.segment is not None
    assert onlooker.segment.claim_port()
    return onlooker


def test_the_sockets_own_ledger_is_kept_whoever_its_server_was(tmp_path: Path) -> None:
    """Who has an instance's sockets is of it, though nobody lives who had a slot."""
    instance = this_instance("told", server=GONE)._replace(told=True)
    for life in (1, 2):
        with Child(lambda: Recorder(tmp_path, instance)) as worker:
            worker.call(Recorder.serve)
            assert requests(worker.call(Recorder.read)) == {"/": life}


def test_a_name_given_by_hand_begins_anew_with_its_server(tmp_path: Path) -> None:
    """A server that is restarted under the name of a dead one counts from zero."""
    for _ in range(2):
        with _worker(tmp_path, "shop", server=GONE) as worker:
            worker.call(Recorder.serve)
            assert requests(worker.call(Recorder.read)) == {"/": 1}


@pytest.mark.parametrize(
    ("at", "old"),
    [
        pytest.param(16, b"\xff", id="layout"),
        pytest.param(48, b"\x01\x02\x03\x04\x05\x06\x07\x08", id="network"),
    ],
)
def test_what_cannot_be_judged_is_left_alone_for_a_day(tmp_path: Path, at: int, old: bytes) -> None:
    """Another version's or another container's ledger goes when nobody can need it any more."""
    with _worker(tmp_path, "strange", server=GONE):
        pass
    strange = tmp_path / "strange.ledger"
    with strange.open("r+b") as file:
        file.seek(at)
        file.write(old)

    with _worker(tmp_path, "next"):
        assert strange.exists()
    long_ago = time.time_ns() - 90_000 * 10**9
    os.utime(strange, ns=(long_ago, long_ago))
    with _worker(tmp_path, "next"):
        assert not strange.exists()


def test_what_lies_there_beside_ledgers_stops_nobody(tmp_path: Path) -> None:
    """A FIFO, a directory and a link that bear a ledger's name are passed over."""
    os.mkfifo(tmp_path / "pipe.ledger")
    (tmp_path / "directory.ledger").mkdir()
    (tmp_path / "link.ledger").symlink_to(tmp_path / "nowhere")

    with _worker(tmp_path, "next") as worker:
        assert worker.call(Recorder.read).shared

    assert {"pipe.ledger", "directory.ledger", "link.ledger"} <= _files(tmp_path)
