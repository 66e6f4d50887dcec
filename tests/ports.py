"""Metrics ports in this process, and what tests do to them."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

from otelmon.port import Port


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from otelmon.ledger.locks import Lease


class Clock:
    """A clock that stands still until it is told to move; takes the place of module time."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class App:
    """Answers `hello`, and can be held up in the middle of it."""

    def __init__(self) -> None:
        """Answer at once."""
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        self.entered.set()
        self.go_on.wait(60)
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hello"]


@contextlib.contextmanager
def listening(port: int = 0) -> Iterator[int]:
    """Be another program that has a port."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield taken.getsockname()[1]


@contextlib.contextmanager
def serving(port: Port, lease: Lease | None = None) -> Iterator[int]:
    """Have *port* serve until the end of the block; yield its number."""
    port.tick(lease)
    assert port.state["state"] == "serving", port.state
    number = port.state["port"]
    assert isinstance(number, int)
    try:
        yield number
    finally:
        port.close()


def new(port: int = 0, app: App | None = None, host: str = "127.0.0.1") -> Port:
    """Return a port that has not begun."""
    return Port(app or App(), host=host, port=port)


def held() -> tuple[int, int]:
    """Return how many threads and descriptors this process has."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def given_back(before: tuple[int, int]) -> bool:
    """Tell whether no more is held than before, when a thread may have been about to end."""
    threads, descriptors = held()
    return threads <= before[0] and descriptors <= before[1]


def kept_alive(client: socket.socket) -> bytes:
    """Ask on a connection that is kept; return the whole answer."""
    client.settimeout(60)
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"hello") and (piece := client.recv(65536)):
        answer += piece
    return answer
