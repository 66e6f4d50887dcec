"""The plain application, and answers that leave children of the worker behind.

`/child/<kind>` answers with the pid of a child that lives until it is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from otelmon import monitor
from tests.apps import answers


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def _live() -> None:
    while True:
        signal.pause()


def _fork() -> int:
    pid = os.fork()
    if pid == 0:
        try:
            _live()
        finally:
            os._exit(1)
    return pid


def _fork_twice() -> int:
    """Return the pid of a grandchild, as a daemon is made."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(_fork()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    # Not to its end: the grandchild has the other end open.
    pid = int(os.read(reader, 20))
    os.close(reader)
    return pid


def _multiprocessing() -> int:
    process = multiprocessing.get_context("fork").Process(target=_live)
    process.start()
    assert process.pid is not None
    return process.pid


def _subprocess() -> int:
    return subprocess.Popen(["sleep", "600"]).pid


_MAKE: dict[str, Callable[[], int]] = {
    "fork": _fork,
    "fork-twice": _fork_twice,
    "multiprocessing": _multiprocessing,
    "subprocess": _subprocess,
}


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Make a child, or answer as the plain application."""
    name, _, kind = str(environ["PATH_INFO"])[1:].partition("/")
    if name != "child":
        return answers.application(environ, start_response)
    body = str(_MAKE[kind]()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


app = answers.tagged(monitor(application))
