"""What is shown of now is of the living: the dead hold nothing, the stuck are seen, hosts may fail."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests import peek
from tests.booked import read
from tests.flight import Flight
from tests.gunicorn_server import Gunicorn
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path

    import psutil


OFTEN = {"MONITORING_INTERVAL": "1"}


def shown(server: Gunicorn) -> dict[str, Any]:
    """Return `/api/metrics` of the metrics port, waiting until somebody serves it."""
    found: list[dict[str, Any]] = []

    def ask() -> bool:
        answer = peek.figures(server)
        if answer is not None:
            found.append(answer)
        return bool(found)

    assert until(ask), server.log
    return found[0]


def not_serving_the_port(server: Gunicorn) -> psutil.Process:
    """Return a worker that does not serve the metrics port."""
    at_port = peek.served(server)
    return next(worker for worker in server.workers() if worker.pid not in at_port)


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
def test_what_a_dead_worker_had_in_flight_is_lost_and_no_longer_shown(
    tmp_path: Path, worker_class: str
) -> None:
    """The first answer after a kill -9 shows nothing in flight, nobody busy and one lost request."""
    with Gunicorn(tmp_path, worker_class=worker_class) as server:
        server.wait_for_workers()
        with Flight(server, not_serving_the_port(server)) as flight:
            before = shown(server)
            assert before["application"]["active_connections"] == 1
            assert before["workers"]["busy"] == 1
            assert before["workers"]["oldest_request_seconds"] is not None
            flight.kill()
            after = shown(server)
        assert after["application"]["active_connections"] == 0
        assert after["application"]["request_count"] == 0
        workers = after["workers"]
        assert (workers["busy"], workers["lost_requests"]) == (0, 1)
        assert workers["oldest_request_seconds"] is None
        assert flight.answer is None
        server.wait_for_workers()
        # Settled by the next owner of the slot, it is still one.
        assert until(lambda: peek.workers(server, "starts") == 5)
        assert peek.workers(server, "lost_requests") == 1


def test_the_oldest_request_grows_old_and_goes(tmp_path: Path) -> None:
    """Its age is that of the longest request in flight; when it ends, the younger one's is shown."""
    with Gunicorn(tmp_path, workers=3) as server:
        server.wait_for_workers()
        first, second, _ = server.workers()
        with Flight(server, first) as old:
            assert until(lambda: oldest(server) > 2)
            between = time.monotonic()
            with Flight(server, second):
                assert oldest(server) > 2
                assert peek.workers(server, "busy") == 2
                old.land()
                # By when it began: how old the younger one is by now, nobody can say. The old one
                # had begun two seconds before *between*.
                assert until(lambda: begun(server) > between - 1)
        assert until(lambda: peek.workers(server, "oldest_request_seconds") is None)


def oldest(server: Gunicorn) -> float:
    """Return the age of the oldest request in flight, 0 if there is none."""
    age: float = shown(server)["workers"]["oldest_request_seconds"] or 0.0
    return age


def woken(worker: psutil.Process) -> bool:
    """Send a worker a signal that it has a handler for."""
    worker.send_signal(signal.SIGUSR1)
    return True


def begun(server: Gunicorn) -> float:
    """Return a monotonic time at or after which the oldest request in flight began, 0 if none is."""
    asked = time.monotonic()
    age = oldest(server)
    return asked - age if age else 0.0


@pytest.mark.parametrize("worker_class", ["sync", "gevent"])
def test_a_worker_stuck_in_c_is_seen_from_another_one(tmp_path: Path, worker_class: str) -> None:
    """A request that holds the interpreter's lock grows old on the port while its worker is mute."""
    with (
        Gunicorn(tmp_path, app="tests.apps.stuck:app", worker_class=worker_class) as server,
        ThreadPoolExecutor(1) as client,
    ):
        server.wait_for_workers()
        stuck = not_serving_the_port(server)
        with server.only(stuck):
            answer = client.submit(server.get, "/stuck/60", timeout=60)
            # From outside: who serves the port is stopped.
            assert until(lambda: read(server).in_flight == 1), server.log
        assert until(lambda: oldest(server) > 2), server.log
        said = shown(server)
        assert said["application"]["active_connections"] == 1
        assert said["workers"]["total"] == 4
        assert not answer.done()
        # What has a handler ends the sleep.
        assert until(lambda: woken(stuck) and answer.done(), every=0.1)
        assert answer.result().status == 200
        assert until(lambda: oldest(server) == 0)


def test_a_greenlet_that_computes_does_not_stop_the_port(tmp_path: Path) -> None:
    """While gevent's only worker computes without a pause, scrape after scrape is answered."""
    with (
        Gunicorn(tmp_path, workers=1, worker_class="gevent") as server,
        ThreadPoolExecutor(1) as client,
    ):
        server.wait_for_workers()
        # The first one imports what scrapes need.
        assert server.ops("/metrics").status == 200
        enough = tmp_path / "enough"
        answer = client.submit(server.get, f"/compute{enough}", timeout=90)
        assert until(lambda: peek.workers(server, "busy") == 1)
        for _ in range(5):
            assert server.ops("/metrics").status == 200
        assert not answer.done()
        enough.touch()
        assert answer.result().text == "computed"


@pytest.mark.parametrize("worker_class", ["sync", "gevent"])
def test_scrapes_at_once_are_answered(tmp_path: Path, worker_class: str) -> None:
    """The port answers 60 scrapes of 20 clients, all with the same count."""
    with Gunicorn(tmp_path, workers=2, worker_class=worker_class) as server:
        server.wait_for_workers()
        for _ in range(3):
            assert server.get("/ok").status == 200
        assert until(lambda: shown(server)["application"]["request_count"] == 3)
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(lambda _: server.ops("/metrics", timeout=60), range(60)))
        assert {answer.status for answer in answers} == {200}
        counted = 'app_requests_total{method="GET",endpoint="/ok",status="200"} 3'
        assert all(counted in answer.text for answer in answers)


def test_a_disk_that_hangs_stops_neither_beat_nor_board(tmp_path: Path) -> None:
    """While the host's sample hangs the port answers, requests are shown, and figures are null."""
    hang = tmp_path / "hang"
    hang.touch()
    env = {**OFTEN, "HANG": str(hang)}
    with Gunicorn(tmp_path, app="tests.apps.hung_disk:app", workers=2, env=env) as server:
        server.wait_for_workers()
        assert until(lambda: peek.read_board(peek.ledger(server)) is not None), server.log
        for _ in range(3):
            assert server.get("/ok").status == 200
        path = peek.ledger(server)
        before = peek.board_of(server)
        # From the second time on nobody waits for it any more.
        assert until(lambda: published(path) >= before.number + 3), server.log
        said = shown(server)
        assert said["application"]["request_count"] == 3
        assert said["system"]["cpu_percent"] is None
        assert said["system"]["disk_total"] is None
        assert server.log.count("host_sample failed") == 1
        hang.unlink()
        assert until(lambda: shown(server)["system"]["disk_total"] is not None), server.log


def published(path: Path) -> int:
    """Return how often the board was published."""
    found = peek.read_board(path)
    return 0 if found is None else found.number


def test_a_machine_that_tells_nothing_is_shown_as_unknown(tmp_path: Path) -> None:
    """If psutil raises at everything, its figures are null, each source is logged once, requests go on."""
    with Gunicorn(tmp_path, app="tests.apps.blind:app", workers=2, env=OFTEN) as server:
        server.wait_for_workers()
        path = peek.ledger(server)
        assert until(lambda: published(path) >= 3), server.log
        assert server.get("/ok").text == "ok"
        system = shown(server)["system"]
        for name in ("cpu_percent", "cpu_count", "memory_total", "disk_used", "network_bytes_sent"):
            assert system[name] is None, name
        log = server.log
        for source in ("host_cpu", "host_memory", "host_disk", "host_network"):
            assert log.count(f"{source} failed") == 1, source
        assert server.ops("/metrics").status == 200


def test_a_keeper_in_trouble_does_not_slow_the_application(tmp_path: Path) -> None:
    """With a hanging host sample 100 requests by 4 clients are answered all the same."""
    hang = tmp_path / "hang"
    hang.touch()
    with Gunicorn(
        tmp_path, app="tests.apps.hung_disk:app", workers=2, env={**OFTEN, "HANG": str(hang)}
    ) as server:
        server.wait_for_workers()
        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(lambda _: server.get("/ok"), range(100)))
        assert {answer.text for answer in answers} == {"ok"}
        assert until(lambda: shown(server)["application"]["request_count"] == 100)
        hang.unlink()
