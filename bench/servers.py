"""A gunicorn for each application of bench.apps, without an access log, and what its processes use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.gunicorn_server import Gunicorn
from tests.held_locks import locks_on
from tests.waiting import until


if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    import psutil


BARE = "bare application"
OTELMON = "otelmon"
APPS = {
    BARE: "plain",
    OTELMON: "monitored",
    "prometheus_client, multiprocess": "prometheus",
    "opentelemetry-instrumentation-wsgi": "opentelemetry",
}
"""The modules of bench.apps that are compared everywhere"""


def serve(
    module: str, place: Path, stack: ExitStack, *, workers: int = 1, preload: bool = False
) -> Gunicorn:
    """Start a server that lives until *stack* ends; *place* is a directory of its own."""
    files = place / "prometheus"
    files.mkdir()
    server = Gunicorn(
        place,
        app=f"bench.apps.{module}:app",
        workers=workers,
        preload=preload,
        env={"PROMETHEUS_MULTIPROC_DIR": str(files)} if module == "prometheus" else None,
    )
    stack.enter_context(server)
    assert until(lambda: len(server.workers()) == workers), server.log
    return server


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of all threads of a process, to the nanosecond; those that ended too."""
    # What clock_getcpuclockid(3) returns. /proc tells it in steps of 10 ms only.
    return time.clock_gettime_ns((~process.pid << 3) | 2) / 1e9


def holder(lock: Path) -> int | None:
    """Return the id of the process that holds the lock on a file, None if nobody does."""
    return next((held.pid for held in locks_on(lock) if held.kind == "FLOCK"), None)


def keeper(server: Gunicorn) -> int | None:
    """Return the id of the worker that is the keeper, None if there is none yet."""
    for lock in server.ledgers.glob("*.duty"):
        return holder(lock)
    return None
