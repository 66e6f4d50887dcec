"""The application of many answers, and beside it what only a real server can show."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from otelmon import monitor, set_route
from tests.apps.answers import application as answers


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with a file of so many bytes, with no bytes at all, from two processes, or as usual."""
    name, _, argument = str(environ["PATH_INFO"])[1:].partition("/")
    headers = [("Content-Type", "text/plain")]
    if name == "file":
        set_route(environ, "/file/<bytes>")
        start_response("200 OK", [*headers, ("Content-Length", argument)])
        return _file(environ, int(argument))
    if name == "text":
        set_route(environ, "/text")
        start_response("200 OK", headers)
        return ["text"]  # type: ignore[list-item]
    if name == "fork":
        set_route(environ, "/fork")
        _fork()
    return answers(environ, start_response)


def _file(environ: WSGIEnvironment, size: int) -> Iterable[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.truncate(size)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
    return wrapped


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


app = monitor(application)
