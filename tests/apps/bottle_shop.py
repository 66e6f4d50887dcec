"""A Bottle application with every kind of route and mount that Bottle has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bottle

from otelmon import monitor
from tests.apps.bodies import PlannedError


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_app() -> bottle.Bottle:
    """Return the application."""
    app = shop()
    app.mount("/merged/", shop())
    app.mount("/apart", foreign)
    return app


def observed() -> WSGIApplication:
    """Return the application as a server gets it, measured."""
    return monitor(create_app())


def shop() -> bottle.Bottle:
    """Return an application without mounts."""
    app = bottle.Bottle()
    app.route("/u/<number:int>", callback=str_of)
    app.route("/gone/<word>", callback=gone)
    app.route("/raise", callback=fail)
    app.route("/stream", callback=pieces)
    app.route("/midway", callback=broken)
    app.route("/file", callback=file)
    return app


def str_of(number: int) -> str:
    """Answer."""
    return str(number)


def gone(word: str) -> str:
    """Be found, and find nothing."""
    bottle.abort(404, word)
    raise AssertionError


def fail() -> str:
    """Fail."""
    raise PlannedError


def pieces() -> Iterator[bytes]:
    """Answer piece by piece."""
    yield b"one"
    yield b"two"


def broken() -> Iterator[bytes]:
    """Fail amid the body."""
    yield b"one"
    raise PlannedError


def file() -> bottle.HTTPResponse:
    """Send this file."""
    here = Path(__file__)
    return bottle.static_file(here.name, root=str(here.parent))


def foreign(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Be an application that no framework made."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"foreign"]
