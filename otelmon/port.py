"""The metrics port: the ops app on a port of its own, served by one process of the instance."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults, threads


if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed.wsgi import WSGIApplication

    from otelmon.ledger.locks import Lease


log = logging.getLogger("otelmon")

_THREADS: Final = 4
_FIRST_RETRY_SECONDS: Final = 1.0
_LAST_RETRY_SECONDS: Final = 30.0


class Port:
    """Serves *app* on *host* and *port* while this process holds the lease.

    The port may be taken, most of all 9090 by a Prometheus server: that is said once, tried again
    with growing pauses, and shown by `state`.
    """

    def __init__(self, app: WSGIApplication, *, host: str, port: int) -> None:
        """Serve nothing yet; port 0 is any free one."""
        self._app = app
        self.address = (host, port)
        self._socket: socket.socket | None = None
        self._map: dict[int, Any] = {}
        self._retry_at = 0.0
        self._pause = _FIRST_RETRY_SECONDS
        self._failure: str | None = None

    @property
    def state(self) -> Mapping[str, object]:
        """Say for `/health` whether this process serves the port, or why it cannot."""
        if self._socket is not None:
            return {"state": "serving", "port": self._socket.getsockname()[1]}
        if self._failure is not None:
            return {"state": "failed", "port": self.address[1], "error": self._failure}
        return {"state": "elsewhere", "port": self.address[1]}

    def tick(self, lease: Lease | None) -> None:
        """Serve if it is this process's turn; *lease* is None where there is no other process."""
        if lease is not None and not lease.take():
            self._failure = None
        elif self._socket is None and time.monotonic() >= self._retry_at:
            self._open()
            if lease is not None and self._socket is not None:
                lease.note(str(self._socket.getsockname()[1]))

    def _open(self) -> None:
        try:
            listener = _listen(self.address)
        except OSError as error:
            self._failure = type(error).__name__
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, _LAST_RETRY_SECONDS)
            faults.report("metrics_port", error)
            return
        self._socket, self._failure, self._pause = listener, None, _FIRST_RETRY_SECONDS
        threads.start(self._serve)

    def _serve(self) -> None:
        # Here, because only the process that serves the port is to pay for the import.
        from waitress.server import create_server

        try:
            server = create_server(
                self._app, map=self._map, sockets=[self._socket], threads=_THREADS
            )
            server.run()
        except Exception as error:  # noqa: BLE001 - the thread has nobody else to tell
            faults.report("metrics_port", error)
        finally:
            self.close()

    def close(self) -> None:
        """Serve no longer."""
        listener, self._socket = self._socket, None
        if listener is not None:
            listener.close()
        self._drop_connections()

    def forget(self) -> None:
        """Close what a forked child has inherited: else the port would stay open behind it."""
        self.close()
        self._map.clear()
        self._failure = None

    def _drop_connections(self) -> None:
        for channel in list(self._map.values()):
            connection = getattr(channel, "socket", None)
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.close()


def _listen(address: tuple[str, int]) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    os.set_inheritable(listener.fileno(), False)
    return listener
