"""What an answer of the endpoints costs the worker that gives it: calls without HTTP."""

from __future__ import annotations

import json
import logging
import socket
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from bench.interleaved import cost, cpu, in_turn
from bench.scraping import route, shared_directory
from bench.tables import show
from otelmon import Settings, monitor, set_route
from tests.forks import Child
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


_PATHS = ("/health", "/api/metrics", "/api/metrics/health", "/metrics")
_WORKERS = 4
_ROUTES = (10, 100, 1000)
_CALLS = 10
_ROUNDS = 20


def _answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    set_route(environ, environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def _start_response(*_: object) -> Callable[[bytes], object]:
    return len


class Worker:
    """A process of an instance; its application has many routes."""

    def __init__(self, place: Path, routes: int) -> None:
        """Serve, and answer a request of each route."""
        self._app = monitor(
            _answer,
            Settings(
                instance=f"routes-{routes}",
                ledger_dir=str(place),
                enable_prometheus=True,
                prometheus_port=0,
            ),
        )
        for number in range(routes):
            self.get(route(number))

    def get(self, path: str) -> bytes:
        """Answer one request."""
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.url_scheme": "http"}
        body = self._app(environ, _start_response)
        try:
            return b"".join(body)
        finally:
            getattr(body, "close", int)()


def status(worker: Worker) -> str:
    """Return what the worker's `/health` says."""
    said: str = json.loads(worker.get("/health"))["status"]
    return said


def seconds(worker: Worker, path: str) -> float:
    """Return the CPU time of an answer."""
    return cpu(partial(worker.get, path), calls=_CALLS) / 1e9


def serve(place: Path, routes: int, stack: ExitStack) -> Child[Worker]:
    """Start the workers of an instance; return one of them once its keeper has sampled."""
    children = [stack.enter_context(Child(lambda: Worker(place, routes))) for _ in range(_WORKERS)]
    assert until(lambda: children[0].call(status) == "healthy", every=0.1)
    return children[0]


def main() -> None:
    """Print the costs of the endpoints."""
    # That everybody may read it is as it should be here.
    logging.getLogger("otelmon").setLevel(logging.ERROR)
    with ExitStack() as stack:
        # A process serves if it has a listening socket.
        stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        place = stack.enter_context(shared_directory())
        workers = {routes: serve(place, routes, stack) for routes in _ROUTES}
        seen = in_turn(
            {
                f"{path} {routes}": partial(worker.call, seconds, path)
                for path in _PATHS
                for routes, worker in workers.items()
            },
            rounds=_ROUNDS,
        )
    show(
        f"An answer of one of {_WORKERS} workers without HTTP, CPU time, by the number of routes",
        ["path", *(f"{routes:,}, {of} (ms)" for routes in _ROUTES for of in ("min", "median"))],
        [
            [
                path,
                *(
                    f"{figure * 1e3:.2f}"
                    for routes in _ROUTES
                    for figure in cost(seen[f"{path} {routes}"])
                ),
            ]
            for path in _PATHS
        ],
    )


if __name__ == "__main__":
    main()
