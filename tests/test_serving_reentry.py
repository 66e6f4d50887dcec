"""A request that interrupts the first request of its thread."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from otelmon import Monitor, Settings, monitor
from tests.forks import Child
from tests.wsgi_driver import environ, serve


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def hello(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer."""
    start_response("200 OK", [])
    return [b"hello"]


class Asking(logging.Handler):
    """Has a request answered by the same thread for each line of the log.

    So does a handler that waits for the network under gevent.
    """

    def __init__(self, app: Monitor) -> None:
        """Ask *app*."""
        super().__init__()
        self._app = app
        self.answers: list[bytes] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Ask."""
        self.answers.append(serve(self._app, environ()).body)


def _first_request(app: Monitor) -> list[bytes]:
    """Return the first request's answer, then those that were given meanwhile."""
    handler = Asking(app)
    logging.getLogger("otelmon").addHandler(handler)
    return [serve(app, environ()).body, *handler.answers]


def test_a_request_that_interrupts_the_first_one_is_answered(tmp_path: Path) -> None:
    """A process that begins to serve, and logs a fault of it, does not wait for itself."""
    (tmp_path / "file").touch()
    settings = Settings(ledger_dir=str(tmp_path / "file"), instance="by-name")
    with Child(lambda: monitor(hello, settings)) as child:
        assert child.call(_first_request) == [b"hello", b"hello"]
