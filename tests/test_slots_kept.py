"""Each process keeps its slot, whatever files it opens beside it, and notices if it has lost it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otelmon import faults
from otelmon.ledger import layout
from otelmon.ledger.identity import Process
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.opening import opened_quotas
from tests.forks import Child
from tests.free_ports import free_port
from tests.gunicorn_server import Gunicorn
from tests.peek import figures, workers
from tests.recorder import Recorder, requests, this_instance
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.ledger.identity import Identity


WORKERS = 3


@pytest.mark.parametrize(
    ("named", "args"), [({"OTELMON_INSTANCE": "shop"}, ()), ({}, ("--reuse-port",))]
)
def test_limited_workers_have_a_slot_each(
    tmp_path: Path, named: dict[str, str], args: tuple[str, ...]
) -> None:
    """Those that have one when their first limited request comes, and those that come after a kill."""
    asked = 0
    with Gunicorn(
        tmp_path,
        app="tests.apps.rate_limited_monitored:inner",
        workers=WORKERS,
        port=free_port(),
        args=args,
        env={**named, "RATE_LIMIT": "100000/minute"},
    ) as server:
        server.wait_for_workers()

        def all_asked() -> bool:
            """Ask once more; tell whether each worker is shown, with requests of its own."""
            nonlocal asked
            assert server.get("/ok").status == 200
            asked += 1
            each = workers(server, "each") or []
            return len(each) == WORKERS and all(worker["requests"] for worker in each)

        for killed in (1, 2):
            assert until(all_asked, 30), figures(server)
            server.workers()[0].kill()
            assert until(lambda: workers(server, "deaths") == killed, 60), server.log  # noqa: B023
            server.wait_for_workers()
        assert until(all_asked, 30), figures(server)
        found = figures(server)
        assert found is not None
        shown = {each["pid"] for each in found["workers"]["each"]}
        assert shown == {worker.pid for worker in server.workers()}
        assert found["workers"]["lost_requests"] == 0
        assert found["application"]["request_count"] == asked


@pytest.fixture(name="server", params=[True, False])
def server_of_the_file(request: pytest.FixtureRequest) -> Process | None:
    """Return a server that has ended, or none, which stands for this process."""
    return Process(2**22 + 1, 1) if request.param else None


def test_a_process_that_opens_its_limits_keeps_its_slot(
    tmp_path: Path, server: Process | None
) -> None:
    """Also where the server that the file tells of has ended: its name was given by hand."""
    identity = this_instance(server=server)._replace(told=False)
    ledger = Ledger()
    ledger.serve(tmp_path, identity)
    try:
        opened_quotas(tmp_path, identity).close()
        assert (tmp_path / f"{identity.name}.ledger").exists()
        with Child(lambda: neighbour(tmp_path, identity)) as child:
            assert child.call(slot) == 1
    finally:
        ledger.close()


def test_ledgers_of_one_process_keep_their_slots(tmp_path: Path, server: Process | None) -> None:
    """As the interpreters of one process have one each: who comes looks at the files of the others."""
    identity = this_instance("one", server=server)
    first, second = Ledger(), Ledger()
    first.serve(tmp_path, identity)
    second.serve(tmp_path, this_instance("two"))
    try:
        assert (tmp_path / "one.ledger").exists()
        with Child(lambda: neighbour(tmp_path, identity)) as child:
            assert child.call(slot) == 1
    finally:
        first.close()
        second.close()


def test_a_process_that_dropped_its_locks_has_them_again_with_the_next_beat(tmp_path: Path) -> None:
    """As one whose application copies the directory; who comes later gets another slot."""
    worker = Recorder(tmp_path, this_instance())
    try:
        (tmp_path / "one.slots").read_bytes()
        worker.ledger.beat(draining=False)
        with Child(lambda: Recorder(tmp_path, this_instance())) as other:
            assert other.call(Recorder.slot) == 1
            assert worker.slot() == 0
    finally:
        worker.ledger.close()


def test_a_process_whose_slot_another_has_takes_a_new_one(tmp_path: Path) -> None:
    """What both have counted until then stands, and what each counts from then on."""
    worker = Recorder(tmp_path, this_instance())
    try:
        worker.serve("/", 5)
        (tmp_path / "one.slots").read_bytes()
        with Child(lambda: Recorder(tmp_path, this_instance())) as other:
            assert other.call(Recorder.slot) == 0
            other.call(Recorder.serve, "/", 7)
            worker.ledger.beat(draining=False)
            assert (worker.slot(), other.call(Recorder.slot)) == (1, 0)
            assert faults.seen()["ledger"].times == 1
            worker.serve("/", 11)
            other.call(Recorder.serve, "/", 13)
            for reading in (worker.read(), other.call(Recorder.read)):
                assert requests(reading) == {"/": 36}
                assert (reading.shared, reading.complete, reading.lost) == (True, True, 0)
                assert [each.slot for each in reading.workers] == [0, 1]
    finally:
        worker.ledger.close()


def test_a_process_whose_slot_another_had_takes_it_anew(tmp_path: Path) -> None:
    """The other has come and gone between two beats: what it did not finish is lost, once."""
    worker = Recorder(tmp_path, this_instance())
    try:
        worker.serve("/", 5)
        (tmp_path / "one.slots").read_bytes()
        with Child(lambda: Recorder(tmp_path, this_instance())) as other:
            other.call(Recorder.begin, 2)
            other.kill()
        worker.ledger.beat(draining=False)
        worker.serve("/", 11)
        reading = worker.read()
        assert requests(reading) == {"/": 16}
        assert (reading.lost, len(reading.workers), reading.worker_deaths) == (2, 1, 2)
    finally:
        worker.ledger.close()


def test_a_process_gives_back_the_slot_that_another_has_had(tmp_path: Path) -> None:
    """Where another slot is free: the dead one's is shown as dead, what it had in flight as lost."""
    with Child(lambda: Recorder(tmp_path, this_instance())) as first:
        worker = Recorder(tmp_path, this_instance())
        try:
            assert worker.slot() == 1
            (tmp_path / "one.slots").read_bytes()
            with Child(lambda: Recorder(tmp_path, this_instance())) as other:
                assert other.call(Recorder.slot) == 1
                other.call(Recorder.begin, 3)
                first.kill()
                other.kill()
            worker.ledger.beat(draining=False)
            assert worker.slot() == 0
            with Child(lambda: Recorder(tmp_path, this_instance())) as reader:
                assert reader.call(Recorder.slot) == 1
                seen = reader.call(Recorder.read)
            assert (seen.lost, seen.in_flight, seen.worker_deaths) == (3, 0, 3)
        finally:
            worker.ledger.close()


def neighbour(place: Path, identity: Identity) -> Ledger:
    """Serve beside the parent."""
    ledger = Ledger()
    ledger.serve(place, identity)
    return ledger


def slot(ledger: Ledger) -> int:
    """Return the slot that it has."""
    assert ledger.pen is not None
    assert ledger.segment is not None
    assert ledger.segment.header[layout.HEADER_SLOTS_USED] == 2
    return ledger.pen.number
