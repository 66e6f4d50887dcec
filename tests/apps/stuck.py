"""The plain application, and an answer that holds the interpreter's lock for some seconds.

`/stuck/<seconds>` is answered 409 by the worker that serves the metrics port: nobody could look.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import otelmon.stack
from otelmon import monitor, set_route
from tests.apps import answers


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Stop the whole process, or answer as the plain application."""
    name, _, argument = str(environ["PATH_INFO"])[1:].partition("/")
    if name != "stuck":
        return answers.application(environ, start_response)
    set_route(environ, "/stuck/<seconds>")
    instance = otelmon.stack._instance
    assert instance is not None
    if instance.port()["state"] == "serving":
        start_response("409 Conflict", [("Content-Length", "0")])
        return []
    # As opposed to CDLL, functions of a PyDLL are called with the lock held.
    ctypes.PyDLL(None).sleep(int(argument))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


app = answers.tagged(monitor(application))
