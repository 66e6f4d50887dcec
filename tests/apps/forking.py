"""A program: an application under monitor() that forks inside its requests.

It prints, as JSON, what the instance has counted once every child has ended.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import otelmon.stack
from otelmon import monitor
from tests.apps.bodies import TEXT, PlannedError
from tests.wsgi_driver import environ, rows, serve


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


_parent = os.getpid()


def _fork(kind: str) -> None:
    pid = os.fork()
    if pid == 0 and kind == "exits":
        os._exit(0)
    if pid == 0 and kind == "raises":
        raise PlannedError
    if pid:
        os.waitpid(pid, 0)


def _pieces(kind: str) -> Iterator[bytes]:
    yield b"a"
    _fork(kind)
    yield b"b"


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Fork where and as the path says: /<where>/<kind>."""
    _, where, kind = environ["PATH_INFO"].split("/")
    if where == "before":
        _fork(kind)
    start_response("200 OK", list(TEXT))
    if where == "after":
        _fork(kind)
    return _pieces(kind) if where == "midway" else [b"a"]


def main() -> None:
    """Serve each way of forking twice; what a child comes back with ends there."""
    app = monitor(application)
    for where in ("before", "after", "midway"):
        for kind in ("exits", "returns", "raises", "serves"):
            for _ in range(2):
                serve(app, environ(path=f"/{where}/{kind}"))
                _end_child(kind, lambda: serve(app, environ(path="/none/none")))
    instance = otelmon.stack._instance
    assert instance is not None
    reading = instance.reading()
    assert reading is not None
    figures = [reading.started, reading.finished, reading.lost, reading.in_flight]
    json.dump({"figures": figures, "rows": rows(reading)}, sys.stdout)
    app.close()


def _end_child(kind: str, serve_own: Callable[[], object]) -> None:
    if os.getpid() != _parent:
        if kind == "serves":
            serve_own()
        os._exit(0)


if __name__ == "__main__":
    main()
