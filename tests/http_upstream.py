"""A small HTTP server in a thread of the test, for applications that ask another one."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Iterator


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Keep what is sent, and answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, _Server)
        self.server.posted.append(body)
        self.do_GET()

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        # Whoever keeps connections would keep this server from its end.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - whatever is to be logged
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, posted: list[bytes], port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.posted = posted


@contextlib.contextmanager
def http_upstream(posted: list[bytes] | None = None, *, port: int = 0) -> Iterator[str]:
    """Serve on *port*, by default any; yield the URL. What is posted is added to *posted*."""
    server = _Server([] if posted is None else posted, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
