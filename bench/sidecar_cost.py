"""The metrics port while every worker is stuck in C: how soon it answers; the sidecar's memory."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPException

from bench.memory_cost import pss
from bench.scraping import shared_directory
from bench.tables import show
from tests import peek
from tests.gunicorn_server import Gunicorn
from tests.waiting import until


_WORKERS = 4
_STUCK_SECONDS = 25
_TIMES = 200
_PATHS = ("/health", "/livez", "/readyz", "/api/metrics", "/metrics")


def latencies(server: Gunicorn, path: str) -> list[float]:
    """Return how many ms each of many answers takes, a connection each; the first one first."""
    found = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        assert server.ops(path).status == 200
        found.append((time.perf_counter() - began) * 1e3)
    return found


def rows(server: Gunicorn) -> list[list[str]]:
    """Return a row for each path."""
    found = {path: latencies(server, path) for path in _PATHS}
    return [
        [
            path,
            f"{times[0]:.1f}",
            f"{min(times):.1f}",
            f"{statistics.median(times):.1f}",
            f"{max(times[1:]):.1f}",
        ]
        for path, times in found.items()
    ]


def hold(server: Gunicorn) -> None:
    """Have one worker stuck until it is killed."""
    with suppress(OSError, HTTPException):
        server.get(f"/stuck/{_STUCK_SECONDS}", timeout=2 * _STUCK_SECONDS)


def main() -> None:
    """Print both."""
    with ExitStack() as stack:
        server = Gunicorn(
            stack.enter_context(shared_directory()),
            app="tests.apps.stuck:app",
            workers=_WORKERS,
            args=("-c", "python:otelmon.gunicorn"),
        )
        clients = stack.enter_context(ThreadPoolExecutor(_WORKERS))
        stack.enter_context(server)
        server.wait_for_workers()
        assert until(lambda: server.ops("/health").json()["status"] == "healthy")
        (sidecar,) = server.sidecars()
        memory = {"asked for JSON": pss(sidecar.pid)}
        for _ in range(_WORKERS):
            clients.submit(hold, server)
        assert until(lambda: peek.workers(server, "busy") == _WORKERS)
        answers = rows(server)
        memory["scraped"] = pss(sidecar.pid)
        for worker in server.workers():
            worker.kill()
    show(
        f"The metrics port while all of {_WORKERS} workers are stuck in C code",
        ["path", "first (ms)", "min (ms)", "median (ms)", "max of the rest (ms)"],
        answers,
    )
    show("Memory of the sidecar, PSS", ["", "MB"], [[k, f"{v:.1f}"] for k, v in memory.items()])


if __name__ == "__main__":
    main()
