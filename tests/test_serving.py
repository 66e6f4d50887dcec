"""When a process serves, and to whom it belongs; a process that does not serve holds nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from otelmon.serving import capacity_of, gunicorn_worker
from tests import peek
from tests.free_ports import free_port
from tests.gunicorn_server import ROOT, Gunicorn
from tests.inventory import Inventory
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


CHILDREN = ("fork", "fork-twice", "multiprocessing", "subprocess")


def run(*command: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of this Python to its end."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "ENABLE_PROMETHEUS": "true", **env},  # noqa: TID251 - it needs its PATH
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


# -- processes that do not serve ------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("flask", "--app", "tests.apps.bystander", "routes"),
        ("flask", "--app", "tests.apps.bystander", "work"),
        ("tests.apps.bystander",),
        ("pytest", "--pyargs", "tests.apps.bystander", "-s", "-p", "no:cacheprovider"),
    ],
    ids=["flask routes", "flask command", "import", "pytest"],
)
def test_a_process_that_does_not_serve_holds_nothing(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """A command line, a plain import and a test run have no thread, file, lock or port of ours."""
    port = free_port()
    env = {
        "OTELMON_DIR": str(tmp_path / "ledger"),
        "REPORT": str(tmp_path / "report"),
        "PROMETHEUS_PORT": str(port),
    }
    done = run(*command, env=env)
    before, after = map(Inventory.load, (tmp_path / "report").read_text().splitlines())
    assert not Counter(after.files) - Counter(before.files), done.stderr
    assert (after.threads, after.ports, after.locks) == (1, (), 0)
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize(
    ("worker_class", "app"),
    [("sync", "plain"), ("gthread", "plain"), ("gevent", "plain"), ("sync", "warmed")],
)
def test_the_arbiter_holds_what_it_would_hold_without_us(
    tmp_path: Path, worker_class: str, app: str
) -> None:
    """Under --preload, warmed or upgraded, the arbiter has nothing of ours, and workers have all."""
    found = []
    for disabled in ("true", "false"):
        directory = tmp_path / disabled
        directory.mkdir()
        with Gunicorn(
            directory,
            app=f"tests.apps.{app}:app",
            workers=2,
            worker_class=worker_class,
            preload=True,
            env={"OTELMON_DISABLED": disabled},
        ) as server:
            assert until(lambda: len(server.workers()) == 2)
            if disabled == "false":
                # Before any request.
                server.wait_for_workers()
                server.workers()[0].kill()
                assert until(lambda: figure(server, "starts") == 3)
                server.wait_for_workers()
            server.upgrade()
            assert until(lambda: len(server.workers()) == 2)
            for _ in range(5):
                assert server.get("/ok").status == 200
            arbiter = Inventory.of(server.pid)
            found.append(arbiter._replace(ports=(), files=tuple(map(_kind, arbiter.files))))
            if disabled == "false":
                server.wait_for_workers()
    assert found[0] == found[1]
    assert found[1].threads == 1


def _kind(file: str) -> str:
    """Return what does not change from run to run: logs and heartbeats have names of their own."""
    return file if file.endswith(":") else "file"


def figure(server: Gunicorn, name: str) -> Any:  # noqa: ANN401 - as the JSON has it
    """Return what the metrics port says of the workers; None if for the moment it is silent."""
    answer = server.try_ops("/api/metrics")
    return None if answer is None else answer.json()["workers"][name]


def test_under_preload_nothing_is_made_before_there_are_workers(tmp_path: Path) -> None:
    """Once the app is imported and the sockets are bound, the ledger's directory is not there."""
    config = tmp_path / "hooks.py"
    config.write_text(
        "import os, pathlib\n"
        "def when_ready(server):\n"
        "    made = os.path.exists(os.environ['OTELMON_DIR'])\n"
        f"    pathlib.Path({str(tmp_path / 'made')!r}).write_text(str(made))\n"
    )
    with Gunicorn(tmp_path, workers=1, preload=True, args=("-c", str(config))) as server:
        server.wait_for_workers()
        assert server.ledgers.exists()
    assert (tmp_path / "made").read_text() == "False"


# -- children of a worker -------------------------------------------------------------------------


@contextlib.contextmanager
def child(server: Gunicorn, kind: str, worker: psutil.Process) -> Iterator[psutil.Process]:
    """Have one certain worker make a child; yield the child, which is killed at the end."""
    with server.only(worker):
        answer = server.get(f"/child/{kind}")
    assert answer.headers["X-Pid"] == str(worker.pid)
    made = psutil.Process(int(answer.text))
    try:
        yield made
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            made.kill()


def holds_nothing(process: psutil.Process, port: int) -> bool:
    """Tell whether a process has neither the metrics port nor any lock."""
    held = Inventory.of(process.pid)
    return port not in held.ports and held.locks == 0


@pytest.mark.parametrize(
    ("worker_class", "kinds"),
    [
        *(("sync", (kind,)) for kind in CHILDREN),
        ("gthread", CHILDREN),
        ("gevent", CHILDREN),
    ],
)
def test_workers_children_are_no_workers_and_hold_nothing(
    tmp_path: Path, worker_class: str, kinds: tuple[str, ...]
) -> None:
    """With living children of every worker, all workers are killed: new ones have port and duty."""
    with (
        Gunicorn(
            tmp_path,
            app="tests.apps.family:app",
            worker_class=worker_class,
            workers=2,
            preload=True,
            env={"MONITORING_INTERVAL": "1"},
        ) as server,
        contextlib.ExitStack() as children,
    ):
        server.wait_for_workers()
        workers = server.workers()
        made = [
            children.enter_context(child(server, kind, worker))
            for worker in workers
            for kind in kinds
        ]
        # Whoever takes itself for a worker does so at its first look, long before that.
        assert not until(lambda: figure(server, "starts") not in (2, None), 1)
        for each in made:
            # What a fork has copied the child gives back when it first runs.
            assert until(lambda: holds_nothing(each, server.metrics_port))  # noqa: B023
        for worker in workers:
            worker.kill()
        assert until(lambda: figure(server, "starts") == 4), server.log
        assert until(lambda: figure(server, "total") == 2), server.log
        assert all(each.is_running() for each in made)
        before = peek.board_of(server).number
        assert until(lambda: peek.board_of(server).number > before), server.log
    # Nobody but the system waits for a child whose worker was killed.
    assert psutil.wait_procs(made, 20)[1] == []


# -- what is known of a worker --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "threads", "capacity"),
    [("SyncWorker", 1, 1), ("ThreadWorker", 8, 8), ("GeventWorker", 1, 0)],
)
def test_a_worker_s_capacity_is_told_by_its_class(name: str, threads: int, capacity: int) -> None:
    """Sync workers serve one request at once, threaded ones as many as threads, others any number."""
    worker = type(name, (), {"cfg": SimpleNamespace(threads=threads)})()
    assert capacity_of(worker) == capacity


def test_outside_gunicorn_there_is_no_worker() -> None:
    """Here, under pytest, nobody is a gunicorn worker, and no capacity is known."""
    assert gunicorn_worker() is None
    assert capacity_of(None) == 0
