"""Where the ledger cannot be had, or is taken away, the application does not notice and we say so."""

from __future__ import annotations

import contextlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests import peek
from tests.flight import Flight
from tests.gunicorn_server import Gunicorn
from tests.tmpfs import leave, make_read_only, mounted
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Unusable = Callable[[Path], contextlib.AbstractContextManager[Path]]


PRIVATE = "private: this worker only"
INCOMPLETE = "incomplete: a worker counts for itself"


@contextlib.contextmanager
def a_file(place: Path) -> Iterator[Path]:
    """Be a file where a directory is wanted."""
    place.touch()
    yield place


@contextlib.contextmanager
def somebody_elses(place: Path) -> Iterator[Path]:
    """Be another user's directory."""
    place.mkdir()
    os.chown(place, 65534, 65534)
    yield place


@contextlib.contextmanager
def a_link(place: Path) -> Iterator[Path]:
    """Be a link to a directory that would do."""
    target = place.with_name("target")
    target.mkdir(mode=0o700)
    place.symlink_to(target)
    yield place


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[Path]:
    """Be on a file system that takes no writes."""
    with mounted(place, pages=16):
        make_read_only(place)
        yield place


@contextlib.contextmanager
def below_read_only(place: Path) -> Iterator[Path]:
    """Be missing where nothing can be made."""
    with mounted(place, pages=16):
        make_read_only(place)
        yield place / "ledger"


def by_worker(server: Gunicorn, path: str) -> dict[int, Any]:
    """Return what each worker answers, by its pid."""
    found = {}
    for worker in server.workers():
        with server.only(worker):
            found[worker.pid] = server.get(path).json()
    return found


def ledgers(server: Gunicorn) -> set[str]:
    """Return what the workers say of their ledger."""
    return {said["otelmon"]["ledger"] for said in by_worker(server, "/health").values()}


def statuses(server: Gunicorn) -> set[str]:
    """Return how the instance does, as the workers say; unknown before the first sample."""
    return {said["status"] for said in by_worker(server, "/health").values()}


def serve_many(server: Gunicorn, count: int) -> None:
    """Have *count* requests answered, by 4 clients at once."""
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: server.get("/ok", timeout=60), range(count)))
    assert {answer.text for answer in answers} == {"ok"}


@pytest.mark.parametrize("unusable", [a_file, somebody_elses, a_link, read_only, below_read_only])
def test_a_directory_that_cannot_be_used_is_said_and_harms_nobody(
    tmp_path: Path, unusable: Unusable
) -> None:
    """Each worker counts for itself, with one line in the log and the truth in `/health`."""
    with (
        unusable(tmp_path / "place") as place,
        Gunicorn(tmp_path, workers=2, env={"OTELMON_DIR": str(place)}) as server,
    ):
        assert until(lambda: len(server.workers()) == 2)
        serve_many(server, 20)
        said = by_worker(server, "/api/metrics")
        assert [each["otelmon"]["instance"]["shared"] for each in said.values()] == [False, False]
        assert sum(each["application"]["request_count"] for each in said.values()) == 20
        assert [each["workers"]["total"] for each in said.values()] == [1, 1]
        assert ledgers(server) == {PRIVATE}
        assert until(lambda: statuses(server) == {"degraded"})
        assert server.log.count("ledger failed: No directory can hold the ledger") == 2
        assert str(place) in server.log
        assert not list(tmp_path.glob("*/*.ledger"))


@pytest.mark.parametrize("worker_class", ["sync", "gevent"])
@pytest.mark.parametrize(
    ("pages", "some_share", "some_do_not"),
    [(1, False, True), (8, False, True), (32, True, True), (64, True, True), (160, True, False)],
)
def test_a_file_system_of_any_size_harms_nobody(
    tmp_path: Path, worker_class: str, pages: int, *, some_share: bool, some_do_not: bool
) -> None:
    """With 4 kB to 640 kB for the ledger no worker dies, and what is not shared is said."""
    with (
        mounted(tmp_path / "small", pages=pages) as place,
        Gunicorn(tmp_path, worker_class=worker_class, env={"OTELMON_DIR": str(place)}) as server,
    ):
        assert until(lambda: len(server.workers()) == 4)
        serve_many(server, 80)
        workers = {worker.pid for worker in server.workers()}
        shared, alone = list[Any](), list[Any]()

        def all_are_booked() -> bool:
            # A worker that is stopped behind its last answer books it when it goes on.
            said = by_worker(server, "/api/metrics")
            assert set(said) == workers
            for each in (True, False):
                kind = shared if each else alone
                kind[:] = [
                    one for one in said.values() if one["otelmon"]["instance"]["shared"] is each
                ]
            # The shared ones give one answer, which counts once.
            counted = [one["application"]["request_count"] for one in alone]
            counted += {one["application"]["request_count"] for one in shared}
            return bool(sum(counted) == 80)

        assert until(all_are_booked), (shared, alone)
        assert "SIG" not in server.log
        assert (bool(shared), bool(alone)) == (some_share, some_do_not)
        if alone:
            assert until(lambda: ledgers(server) <= {PRIVATE, INCOMPLETE}), ledgers(server)
            assert "ledger failed" in server.log


def test_a_file_system_that_fills_up_keeps_the_counts(tmp_path: Path) -> None:
    """Once no page is left, new kinds of requests are still counted, in the overflow series."""
    with (
        mounted(tmp_path / "shm", pages=2048) as place,
        Gunicorn(tmp_path, workers=2, env={"OTELMON_DIR": str(place)}) as server,
    ):
        server.wait_for_workers()
        serve_many(server, 20)
        leave(place, 0)
        for code in range(400, 460):
            assert server.get(f"/status/{code}").status == code
        assert until(lambda: counted(server) == 80), server.log
        assert "SIG" not in server.log
        (place / "filler").unlink()
        serve_many(server, 20)
        assert until(lambda: counted(server) == 100), server.log
        assert until(lambda: ledgers(server) == {"shared"})


def counted(server: Gunicorn) -> int | None:
    """Return how many requests were answered, as the metrics port says."""
    found = peek.figures(server)
    return None if found is None else int(found["application"]["request_count"])


def test_a_worker_finds_its_way_back_once_there_is_space(tmp_path: Path) -> None:
    """Workers that began without space join the shared ledger later, with what they have counted."""
    with (
        mounted(tmp_path / "shm", pages=2048) as place,
        contextlib.ExitStack() as stack,
    ):
        leave(place, 0)
        server = stack.enter_context(Gunicorn(tmp_path, workers=2, env={"OTELMON_DIR": str(place)}))
        assert until(lambda: len(server.workers()) == 2)
        serve_many(server, 20)
        assert ledgers(server) == {PRIVATE}
        (place / "filler").unlink()

        def joined() -> bool:
            # One of them may have served all; and what it has counted follows a moment later.
            return ledgers(server) == {"shared"} and counted(server) == 20

        assert until(joined, 60), server.log
        server.wait_for_workers()


def removed_file(server: Gunicorn) -> None:
    """Take the ledger away, as a cleaner of temporary files does."""
    peek.ledger(server).unlink()


def removed_all(server: Gunicorn) -> None:
    """Take away all that lies beside it as well."""
    for path in server.ledgers.iterdir():
        path.unlink()


def removed_directory(server: Gunicorn) -> None:
    """Take away the directory."""
    shutil.rmtree(server.ledgers)


def swapped(server: Gunicorn) -> None:
    """Put something else in its place."""
    path = peek.ledger(server)
    path.unlink()
    path.write_bytes(b"no ledger at all" * 1000)


@pytest.mark.parametrize("worker_class", ["sync", "gevent"])
@pytest.mark.parametrize("remove", [removed_file, removed_all, removed_directory, swapped])
def test_a_ledger_that_is_taken_away_is_made_anew(
    tmp_path: Path, remove: Callable[[Gunicorn], None], worker_class: str
) -> None:
    """All workers move to a new file with what they have counted, and all is well again."""
    with Gunicorn(
        tmp_path, workers=3, worker_class=worker_class, env={"MONITORING_INTERVAL": "1"}
    ) as server:
        server.wait_for_workers()
        serve_many(server, 60)
        assert until(lambda: counted(server) == 60)
        remove(server)
        assert until(lambda: moved(server), 60), server.log
        assert ledgers(server) == {"shared"}
        serve_many(server, 30)
        assert until(lambda: counted(server) == 90), server.log
        found = peek.figures(server)
        assert found is not None
        assert found["workers"]["lost_requests"] == 0
        # The port is served by one, and no other one goes on trying.
        assert until(lambda: ports(server) == ["elsewhere", "elsewhere", "serving"])
        assert until(lambda: statuses(server) == {"healthy"})


def moved(server: Gunicorn) -> bool:
    """Tell whether every worker has moved, and shows 3 workers and 60 requests."""
    if server.log.count("This process has moved to the ledger") < 3:
        # The old memory shows the same; and what is in flight when they move is lost.
        return False
    said = by_worker(server, "/api/metrics").values()
    return all(
        (each["workers"]["total"], each["application"]["request_count"]) == (3, 60) for each in said
    )


def ports(server: Gunicorn) -> list[str]:
    """Return what the workers say of the metrics port."""
    said = by_worker(server, "/health").values()
    return sorted(each["otelmon"]["port"]["state"] for each in said)


def test_what_is_in_flight_while_the_ledger_is_taken_away_is_lost(tmp_path: Path) -> None:
    """A request that began in the old file is neither in flight for ever nor counted twice."""
    with Gunicorn(tmp_path, workers=2) as server:
        server.wait_for_workers()
        with Flight(server, server.workers()[0]) as flight:
            removed_file(server)
            assert until(lambda: lost(server) == 1), server.log
        assert flight.landed
        found = peek.figures(server)
        assert found is not None
        assert found["application"]["active_connections"] == 0
        assert found["application"]["request_count"] == 0


def lost(server: Gunicorn) -> int | None:
    """Return how many requests were lost."""
    found: int | None = peek.workers(server, "lost_requests")
    return found
