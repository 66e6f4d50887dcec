"""What is particular to single servers: several interpreters, no threads, sockets that close."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from tests.inventory import Inventory
from tests.scrapes import samples, total
from tests.server_kinds import granian, uwsgi
from tests.server_process import Kind, ServerProcess
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


APPS = ("a", "b")
_OLD_UWSGI = """
import runpy, sys, types
sys.modules["uwsgi"] = types.SimpleNamespace(version_info=(2, 0, 21, 0, b""), opt={})
runpy.run_module("tests.apps.application", run_name="__main__", alter_sys=True)
"""


def _mounted(port: int, directory: Path) -> list[str]:
    command = uwsgi("--master", "--processes", "2", "--manage-script-name")(port, directory)
    module, app = command.index("--module"), command[command.index("--module") + 1]
    mounts = [option for name in APPS for option in ("--mount", f"/{name}={app}")]
    return [*command[:module], *command[module + 2 :], *mounts]


def test_applications_in_interpreters_of_their_own_are_counted_apart(tmp_path: Path) -> None:
    """uWSGI runs each mounted application in an interpreter: each says its own number exactly."""
    with ServerProcess(Kind(_mounted, workers=2), tmp_path) as server:
        for _ in range(30):
            for name in ("a", "b", "b"):
                assert server.get(f"/{name}/ok").status == 200
        said: dict[str, dict[str, float]] = {name: {} for name in APPS}

        def all_answered() -> bool:
            for name in APPS:
                answer = server.get(f"/{name}/metrics")
                found = total(samples(answer.text), "app_requests_total")
                said[name][answer.headers["X-Pid"]] = found
            return all(len(each) == 2 for each in said.values())

        def all_is_booked() -> bool:
            # The last one is, when its client has it already.
            return all_answered() and [set(each.values()) for each in said.values()] == [{30}, {60}]

        assert until(all_is_booked), said


def test_without_threads_requests_are_counted_and_the_rest_is_said(tmp_path: Path) -> None:
    """An old uWSGI that stops threads has no keeper; `/health` and one line of the log say so."""
    kind = Kind(lambda port, _: [sys.executable, "-c", _OLD_UWSGI, str(port)])
    with ServerProcess(kind, tmp_path) as server:
        for _ in range(5):
            assert server.get("/ok").status == 200
        health = server.get("/health").json()
        assert health["status"] == "unknown"
        assert health["otelmon"]["ledger"] == "shared"
        assert set(health["otelmon"]["faults"]) == {"threads"}
        assert health["otelmon"]["port"]["state"] == "failed"
        assert total(samples(server.get("/metrics").text), "app_requests_total") == 5
        assert server.log.count("threads failed: ") == 1
        assert "--enable-threads" in server.log
        assert Inventory.of(server.pid).threads == 1


def test_a_server_that_has_closed_its_sockets_is_not_ready(tmp_path: Path) -> None:
    """granian takes no connections from SIGTERM on: the metrics port says so until it ends."""
    # Time to look at a worker that is about to end.
    kind = Kind(granian(workers=1, kill_seconds=60))
    with ServerProcess(kind, tmp_path) as server:
        assert until(lambda: _is_ready(server)), server.log
        go = tmp_path / "go"
        held = threading.Thread(target=server.get, args=(f"/hold{go}",))
        held.start()
        try:
            assert until(lambda: _active(server) == 1)
            server.terminate()
            assert until(lambda: _ready_status(server) == 503), server.log
        finally:
            go.touch()
            held.join()


def _is_ready(server: ServerProcess) -> bool:
    return server.answers("/ok") and _ready_status(server) == 200


def _ready_status(server: ServerProcess) -> int | None:
    answer = server.ops("/readyz")
    return None if answer is None else answer.status


def _active(server: ServerProcess) -> float | None:
    answer = server.ops("/metrics")
    return None if answer is None else samples(answer.text)["app_active_connections"]
