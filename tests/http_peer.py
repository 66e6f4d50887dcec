"""A real HTTP server in a thread, which knows what it was asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit


if TYPE_CHECKING:
    from collections.abc import Iterator


class Peer:
    """Where it is, and what it was asked and answered."""

    def __init__(self) -> None:
        self.port = 0
        self.lock = threading.Lock()
        """For `seen`, which has a thread for each connection"""
        self.seen: Counter[tuple[str, int]] = Counter()
        """How often, by method and status"""
        self.asked = threading.Event()
        """Set by a request that is not answered"""
        self.let_go = threading.Event()
        """Ends requests that are not answered"""

    def url(self, path: str = "/ok", scheme: str = "http") -> str:
        """Return the address of *path*."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"


class _Handler(BaseHTTPRequestHandler):
    """Answers by the path: /status/N, /redirect/N, /flaky/N, /stream, /hang, /cut, else 200."""

    protocol_version = "HTTP/1.1"
    peer: Peer

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        word, _, number = urlsplit(self.path).path.strip("/").partition("/")
        if word == "hang":
            self.peer.asked.set()
            self.peer.let_go.wait(30)
            self.close_connection = True
        elif word == "cut":
            self.close_connection = True
        elif word == "stream":
            self._stream()
        elif word == "redirect" and number != "0":
            self._send(302, location=f"/redirect/{int(number) - 1}")
        elif word == "flaky":
            failed = self.peer.seen[self.command, 503]
            self._send(503 if failed < int(number) else 200)
        else:
            self._send(int(number) if word == "status" else 200)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_BREW = _answer  # noqa: N815 - http.server's

    def _see(self, status: int) -> None:
        with self.peer.lock:
            self.peer.seen[self.command, status] += 1

    def _send(self, status: int, location: str = "") -> None:
        self._see(status)
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "2" if status not in (204, 304) else "0")
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(b"ok")

    def _stream(self) -> None:
        self._see(200)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(5):
            self.wfile.write(b"3\r\nabc\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Threads are waited for; a client that goes away is nothing to speak of."""

    daemon_threads = False

    def __init__(self, peer: Peer) -> None:
        self._open: set[socket.socket] = set()
        handler = type("Handler", (_Handler,), {"peer": peer})
        super().__init__(("127.0.0.1", 0), handler)

    def process_request_thread(self, request: Any, client_address: object) -> None:  # noqa: ANN401 - socketserver's
        """Know the connection while it is served."""
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    def hang_up(self) -> None:
        """End connections that clients have kept."""
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def http_peer() -> Iterator[Peer]:
    """Serve on a free port of the loopback."""
    peer = Peer()
    with _Server(peer) as server:
        peer.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield peer
        finally:
            peer.let_go.set()
            server.shutdown()
            thread.join()
            server.hang_up()
