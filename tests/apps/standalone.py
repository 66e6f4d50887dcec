"""A program that serves the plain application without gunicorn, and is told what to do by lines.

`python -m tests.apps.standalone SERVER PORT` prints a line of JSON for each line that it reads:
`inventory` what the process holds, `close` the same after its monitor was closed, `renew` after a
new one took its place. It ends with its input.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import waitress.server
import werkzeug.serving

from otelmon import monitor
from tests.apps import answers
from tests.inventory import Inventory


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    Serve = Callable[["Renewable", int], None]


class Renewable:
    """The application under a monitor that can be replaced while a server has it."""

    def __init__(self) -> None:
        """Wrap it."""
        self.monitor = monitor(answers.application)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        return answers.tagged(self.monitor)(environ, start_response)

    def close(self) -> None:
        """End the monitor."""
        self.monitor.close()

    def renew(self) -> None:
        """Wrap it anew."""
        self.monitor = monitor(answers.application)


class _Reusing(WSGIServer):
    """A server that shares its port with others of its kind."""

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


def _wsgiref(app: Renewable, port: int) -> None:
    with _Reusing(("127.0.0.1", port), WSGIRequestHandler) as server:
        server.set_app(app)
        server.serve_forever(poll_interval=0.01)


def _waitress(app: Renewable, port: int) -> None:
    waitress.server.create_server(app, host="127.0.0.1", port=port, threads=2).run()


def _werkzeug(app: Renewable, port: int) -> None:
    werkzeug.serving.make_server("127.0.0.1", port, app, threaded=True).serve_forever()


_SERVE: dict[str, Serve] = {"wsgiref": _wsgiref, "waitress": _waitress, "werkzeug": _werkzeug}


def main(serve: Serve, port: int, lines: Iterable[str]) -> None:
    """Serve and obey."""
    logging.basicConfig(level=logging.INFO)
    app = Renewable()
    threading.Thread(target=serve, args=(app, port), daemon=True).start()
    commands = {"inventory": lambda: None, "close": app.close, "renew": app.renew}
    for line in lines:
        commands[line.strip()]()
        sys.stdout.write(Inventory.own().dump() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(_SERVE[sys.argv[1]], int(sys.argv[2]), sys.stdin)
