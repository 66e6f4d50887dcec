"""A proxy between a client and a server of any protocol over TCP, that can be told to misbehave."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self


if TYPE_CHECKING:
    from types import TracebackType


class TcpProxy:
    """Passes bytes on in both directions, on a port of its own; a context manager.

    What it is told holds from the next piece of bytes on, on connections that are open too.
    """

    def __init__(self, port: int) -> None:
        """Stand before *port* of this machine."""
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        """Connections that clients have made so far"""
        self.asked = 0
        """Pieces of bytes that clients have sent so far"""
        self.delay = 0.0
        """Seconds that each piece of an answer is held back"""
        self.held = 0
        """Pieces of answers that were held back so far"""
        self._silent = False
        self._refusing = False
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._pairs: list[tuple[socket.socket, socket.socket]] = []

    # -- what it can be told ---------------------------------------------------------------------

    def cut(self) -> None:
        """Close all connections that are open."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def half_close(self) -> None:
        """Send no more to the clients, and go on reading what they send."""
        for client, _ in self._pairs:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)

    def swallow(self) -> None:
        """Pass no answer on from now on, and leave all connections open."""
        self._silent = True

    def refuse(self) -> None:
        """Close each new connection at once."""
        self._refusing = True

    def behave(self) -> None:
        """Pass everything on again."""
        self.delay, self._silent, self._refusing = 0.0, False, False

    # -- how it does it --------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Begin."""
        self._run(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all connections and threads."""
        self._ended.set()
        # Closing alone would not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def _run(self, work: object, *args: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                client.close()
                continue
            if self._refusing:
                client.close()
                server.close()
                continue
            server.settimeout(None)
            self._pairs.append((client, server))
            self._run(self._pass_on, client, server, False)
            self._run(self._pass_on, server, client, True)

    def _pass_on(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError), source:
            while data := source.recv(65536):
                if not answers:
                    self.asked += 1
                elif self.delay:
                    self.held += 1
                    self._ended.wait(self.delay)
                if not (answers and self._silent):
                    target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
