"""Real WSGI servers in threads of this process, each asked over a socket of its own."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

from waitress.server import create_server


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed.wsgi import WSGIApplication

    Serving = Callable[[WSGIApplication], contextlib.AbstractContextManager[int]]


class _Silent(WSGIRequestHandler):
    """wsgiref's handler without its log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""

    def get_stderr(self) -> io.StringIO:
        """Let tracebacks go nowhere."""
        return io.StringIO()


@contextlib.contextmanager
def wsgiref_server(app: WSGIApplication) -> Iterator[int]:
    """Serve *app* by wsgiref's simple server; yield the port."""
    with make_server("127.0.0.1", 0, app, handler_class=_Silent) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def waitress_server(app: WSGIApplication) -> Iterator[int]:
    """Serve *app* by waitress; yield the port."""
    server = create_server(app, host="127.0.0.1", port=0, threads=1, map={})
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.effective_port
    finally:
        server.trigger.pull_trigger(server.close)
        thread.join()
        server.task_dispatcher.shutdown()


SERVERS: Final[dict[str, Serving]] = {"wsgiref": wsgiref_server, "waitress": waitress_server}


def raw(port: int, method: str = "GET", path: str = "/") -> bytes:
    """Return the bytes of an answer, without its date."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, mark, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Date:")]
    return b"\r\n".join(lines) + mark + body
