"""From the start of the server, and after it lost its only worker, everything is there by itself."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.free_ports import free_port
from tests.gunicorn_server import Gunicorn
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


CLASSES = ["sync", "gthread", "gevent"]


@pytest.fixture
def everybodys_directory() -> Iterator[Path]:
    """Return a directory that the user nobody may use."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


def pids(server: Gunicorn) -> set[int]:
    """Return the ids of the workers."""
    return {worker.pid for worker in server.workers()}


def knows_the_host(server: Gunicorn) -> bool:
    """Tell whether a worker shows every figure of the host."""
    return None not in server.get("/api/metrics").json()["system"].values()


def figure(server: Gunicorn, part: str, name: str) -> object:
    """Return what the metrics port says; None if for the moment nobody serves it."""
    answer = server.try_ops("/api/metrics")
    return None if answer is None else answer.json()[part][name]


def answered(server: Gunicorn) -> object:
    """Return how many requests were answered, as the metrics port says."""
    return figure(server, "application", "request_count")


@pytest.mark.serial
@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("worker_class", CLASSES)
def test_soon_after_the_start_and_before_any_request_all_workers_are_shown(
    tmp_path: Path, worker_class: str, *, preload: bool
) -> None:
    """The metrics port shows 4 workers that have answered nothing, and was not asked for."""
    with Gunicorn(tmp_path, worker_class=worker_class, preload=preload) as server:
        server.wait_for_workers()
        said = server.ops("/api/metrics").json()
        assert said["application"]["request_count"] == 0
        assert said["workers"]["starts"] == 4
        assert said["otelmon"]["faults"] == {}
        assert server.ops("/metrics").status == 200
        assert "Traceback" not in server.log


@pytest.mark.serial
@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_after_the_only_worker_was_recycled_everything_is_there_again(
    tmp_path: Path, *, preload: bool
) -> None:
    """With one worker and max_requests 5, 12 requests and two recyclings later all is shown."""
    args = ("--max-requests", "5")
    with Gunicorn(tmp_path, workers=1, preload=preload, args=args) as server:
        server.wait_for_workers()
        for _ in range(12):
            assert server.get("/ok").status == 200
        assert until(lambda: answered(server) == 12), server.log
        workers = server.ops("/api/metrics").json()["workers"]
        assert (workers["total"], workers["starts"], workers["deaths"]) == (1, 3, 2)


@pytest.mark.serial
@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_after_the_only_worker_was_killed_everything_is_there_again(
    tmp_path: Path, *, preload: bool
) -> None:
    """Kill -9 of the only worker, three times: the next one shows what all have answered."""
    with Gunicorn(tmp_path, workers=1, preload=preload) as server:
        server.wait_for_workers()
        for times in range(1, 4):
            assert server.get("/ok").status == 200
            # The client has its answer before the worker has booked it.
            assert until(lambda: answered(server) == times)  # noqa: B023
            (worker,) = server.workers()
            worker.kill()
            assert until(lambda: pids(server) - {worker.pid})  # noqa: B023
            assert until(lambda: answered(server) == times), server.log  # noqa: B023


def test_without_prometheus_no_port_is_opened_and_the_json_is_complete(tmp_path: Path) -> None:
    """Unset ENABLE_PROMETHEUS: only the app's port listens, and it shows workers and host."""
    with Gunicorn(tmp_path, env={"ENABLE_PROMETHEUS": ""}) as server:
        assert until(lambda: server.get("/api/metrics").json()["workers"]["total"] == 4, 60)
        assert until(lambda: knows_the_host(server))
        assert set(server.listeners()) == {server.port}
        assert server.get("/health").json()["otelmon"]["port"] == {"state": "off"}
        # Without the switch the path is the application's.
        assert server.get("/metrics").text == "missing"


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_bad_variables_end_the_start_with_all_of_them_named(
    tmp_path: Path, *, preload: bool
) -> None:
    """One ConfigError names every bad variable; gunicorn ends with it in its log."""
    bad = {"PROMETHEUS_PORT": "http", "MONITORING_INTERVAL": "0", "ALERT_CPU_THRESHOLD": "lots"}
    server = Gunicorn(tmp_path, preload=preload, env=bad)
    assert server.refusal() != 0
    log = server.log
    error = log[log.index("ConfigError: ") :]
    for name, value in bad.items():
        assert f"{name} is '{value}'" in error
    assert not server.ledgers.exists()


def test_disabled_means_that_nothing_is_mounted_or_opened(tmp_path: Path) -> None:
    """Under OTELMON_DISABLED=true the app answers all paths, and no port, file or thread is made."""
    with Gunicorn(tmp_path, workers=2, env={"OTELMON_DISABLED": "true"}) as server:
        assert until(lambda: len(server.workers()) == 2)
        for path in ("/health", "/livez", "/readyz", "/api/metrics", "/metrics"):
            assert server.get(path).text == "missing"
        assert server.get("/ok").text == "ok"
        assert set(server.listeners()) == {server.port}
        assert not server.ledgers.exists()
        assert {worker.num_threads() for worker in server.workers()} == {1}


def test_disabled_silences_whatever_else_is_wrong(tmp_path: Path) -> None:
    """With OTELMON_DISABLED=true bad variables do not stop the application."""
    env = {"OTELMON_DISABLED": "true", "PROMETHEUS_PORT": "http"}
    with Gunicorn(tmp_path, workers=1, env=env) as server:
        assert until(lambda: server.get("/ok").text == "ok")


def test_workers_that_gave_up_their_rights_keep_the_counts(everybodys_directory: Path) -> None:
    """Under --user nobody, where the arbiter cannot be looked into, no recycling loses a count."""
    ledgers = str(everybodys_directory / "ledger")
    with Gunicorn(
        everybodys_directory,
        app="tests.apps.early:app",
        workers=1,
        preload=True,
        args=("--user", "nobody", "--group", "nogroup", "--max-requests", "5"),
        env={"OTELMON_DIR": ledgers, "PYTHONDONTWRITEBYTECODE": "1"},
    ) as server:
        server.wait_for_workers()
        for _ in range(18):
            assert server.get("/ok").status == 200
        assert until(lambda: answered(server) == 18), server.log
        assert server.ops("/api/metrics").json()["otelmon"]["instance"]["shared"] is True
    shutil.rmtree(ledgers)


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_workers_with_sockets_of_their_own_are_one_instance(
    tmp_path: Path, *, preload: bool
) -> None:
    """Under --reuse-port each worker listens for itself, and all are counted together."""
    port = free_port()
    with Gunicorn(tmp_path, port=port, preload=preload, args=("--reuse-port",)) as server:
        server.wait_for_workers()
        answers = [server.get("/ok") for _ in range(40)]
        assert len({answer.slot for answer in answers}) > 1
        assert until(lambda: answered(server) == 40)
        for worker in server.workers():
            worker.kill()
        assert until(lambda: answered(server) == 40), server.log
        # Sooner gunicorn would put the reload's workers in the place of the dead ones.
        assert until(lambda: figure(server, "workers", "starts") == 8, 60), server.log
        server.wait_for_workers()
        server.signal(signal.SIGHUP)
        assert until(lambda: figure(server, "workers", "starts") == 12, 60), server.log
        assert until(lambda: answered(server) == 40), server.log
        assert len(list(server.ledgers.glob("*.ledger"))) == 1


def test_counts_outlive_the_arbiter_that_began_them(tmp_path: Path) -> None:
    """After an upgrade, with the old arbiter's worker the last to claim, no kill loses a count."""
    with Gunicorn(tmp_path, workers=1) as server:
        server.wait_for_workers()
        old = psutil.Process(server.pid)
        (first,) = server.workers()
        assert server.get("/ok").status == 200
        server.signal(signal.SIGUSR2)
        assert until(lambda: figure(server, "workers", "total") == 2), server.log
        first.kill()
        assert until(lambda: figure(server, "workers", "starts") == 3), server.log
        server.follow(old)
        (last,) = server.workers()
        last.kill()
        assert until(lambda: figure(server, "workers", "starts") == 4), server.log
        # For a moment nobody may serve the port.
        assert until(lambda: answered(server) == 1), server.log
