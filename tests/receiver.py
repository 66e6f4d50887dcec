"""Somebody who is told of alerts: a real HTTP server that keeps what it is sent."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.free_ports import free_port


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Message:
    """One POST."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:  # noqa: ANN401 - whatever was sent
        """Return it parsed."""
        return json.loads(self.raw)


@dataclass
class Receiver:
    """What came in, and how it is answered."""

    port: int = 0
    answers: int = 200
    """The status of every answer"""
    location: str = ""
    hangs: bool = False
    drips: bool = False
    """An answer without an end, one byte at a time"""
    refused: list[Message] = field(default_factory=list)
    taken: list[Message] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/hook", user: str = "") -> str:
        """Return its address."""
        return f"http://{user}127.0.0.1:{self.port}{path}"

    @property
    def news(self) -> list[tuple[str, str, str]]:
        """Return name, severity and status of all alerts that it was sent, in order."""
        return [
            (alert["labels"]["alertname"], alert["labels"]["severity"], alert["status"])
            for message in self.taken
            for alert in message.body["alerts"]
        ]


class _Handler(BaseHTTPRequestHandler):
    """Keeps what is sent, and answers as it is told to."""

    receiver: Receiver

    def do_POST(self) -> None:
        """Take a message."""
        told = self.receiver
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        message = Message(self.path, dict(self.headers), raw)
        if told.hangs or told.drips:
            told.refused.append(message)
            self._keep_waiting()
            return
        (told.taken if told.answers == 200 else told.refused).append(message)
        self.send_response(told.answers)
        if told.location:
            self.send_header("Location", told.location)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def _keep_waiting(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.receiver.let_go.wait(0.1):
            if self.receiver.drips:
                self.wfile.write(b"X")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Its threads are waited for."""

    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Serve on a free port of the loopback, or on *port*."""
    receiver = Receiver()
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    with _Server(("127.0.0.1", port), handler) as server:
        receiver.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.let_go.set()
            server.shutdown()
            thread.join()


def closed_port() -> int:
    """Return a port on which nobody listens, and nobody begins to."""
    return free_port()
