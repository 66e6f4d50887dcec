"""The metrics port: the ops app on a port of its own, served by one process of the instance."""

from __future__ import annotations

import _thread
import contextlib
import errno
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults, threads
from otelmon.ledger.forks import FORKS
from otelmon.ledger.locks import Lease
from otelmon.loading import apart_from_forks


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from _typeshed.wsgi import WSGIApplication


log = logging.getLogger("otelmon")

_THREADS: Final = 4
_MAX_BODY_BYTES: Final = 16 * 1024
_FIRST_RETRY_SECONDS: Final = 1.0
_LAST_RETRY_SECONDS: Final = 30.0
# How long answers that are being given may take once the port is to be closed.
_END_SECONDS: Final = 1.0


class Port:
    """Serves *app* on *host* and *port* while this process holds the lease.

    The port may be taken, most of all 9090 by a Prometheus server: that is said once, tried again
    with growing pauses, and shown by `state`.
    """

    def __init__(self, app: WSGIApplication, *, host: str, port: int) -> None:
        """Serve nothing yet; port 0 is any free one."""
        self._app = app
        self.address = (host, port)
        self._service: Service | None = None
        self._retry_at = 0.0
        self._pause = _FIRST_RETRY_SECONDS
        self._failure: str | None = None

    @property
    def state(self) -> Mapping[str, object]:
        """Say for `/health` whether this process serves the port, or why it cannot."""
        service = self._service
        if service is not None:
            return {"state": "serving", "port": service.port}
        if self._failure is not None:
            return {"state": "failed", "port": self.address[1], "error": self._failure}
        return {"state": "elsewhere", "port": self.address[1]}

    def tick(self, lease: Lease | None) -> None:
        """Serve if it is this process's turn; *lease* is None where there is no other process."""
        if lease is not None and not lease.take():
            # Perhaps it was ours and its file was removed: then it is another's turn.
            self.close()
            self._failure = None
            return
        if self._service is not None and self._service.failure is not None:
            self._fail(self._service.failure, lease)
        if self._service is None and time.monotonic() >= self._retry_at:
            self._open(lease)

    def _open(self, lease: Lease | None) -> None:
        moment = FORKS.moment()
        try:
            listener = _listen(self.address)
        except OSError as error:
            self._fail(error, lease)
            return
        service = self._service = Service(self._app, listener)
        if FORKS.since(moment):
            # A child that was forked before there was anything to forget has it open, too.
            self._service = None
            service.refrain()
            return
        try:
            service.start()
        except BaseException:
            self._service = None
            service.refrain()
            raise
        self._failure, self._pause = None, _FIRST_RETRY_SECONDS
        if lease is not None:
            lease.note(str(service.port))

    def refuse(self, error: Exception) -> None:
        """Serve nothing, because of *error*."""
        number = getattr(error, "errno", None)
        self._failure = errno.errorcode.get(number or 0, type(error).__name__)
        self._service = None

    def _fail(self, error: Exception, lease: Lease | None) -> None:
        self.refuse(error)
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _LAST_RETRY_SECONDS)
        if lease is not None:
            lease.note(self._failure or "")
        faults.report("metrics_port", error)

    def leave(self, lease: Lease | None) -> None:
        """Serve no longer, and leave the turn to others."""
        self.close()
        self._failure = None
        if lease is not None:
            lease.give()

    def close(self) -> None:
        """Serve no longer; the port is free when this returns."""
        service, self._service = self._service, None
        if service is not None:
            service.end()

    def forget(self) -> None:
        """Close what a forked child has inherited: else the port would stay open behind it."""
        service, self._service = self._service, None
        if service is not None:
            service.forget()
        self._failure = None


def lease_of(stem: Path) -> Lease:
    """Return the lease of the metrics port, of the instance whose files' names begin with *stem*."""
    return Lease(stem.with_suffix(".port"))


def shown(port: Port, stem: Path | None) -> Mapping[str, object]:
    """Say for `/health` how the port does, with what the process that has it left as a word."""
    state = port.state
    if state["state"] != "elsewhere" or stem is None:
        return state
    noted = lease_of(stem).noted()
    if noted.isdecimal():
        return {**state, "port": int(noted)}
    return {**state, "state": "failed", "error": noted} if noted else state


class Service:
    """The server behind the port, from its first moment to its end, in threads of its own."""

    def __init__(self, app: WSGIApplication, listener: socket.socket) -> None:
        """Serve *app* on *listener* once it is started."""
        self.port: int = listener.getsockname()[1]
        self.failure: Exception | None = None
        self._app = app
        self._listener = listener
        # What the server's loop waits for, by descriptor: the listener, its pipe, connections.
        self._map: dict[int, Any] = {}
        self._server: Any = None
        self._lock = threads.original(_thread, "allocate_lock")()
        self._ending = False
        self._ended = threads.Alarm()

    def start(self) -> None:
        """Begin to serve.

        Raises:
            RuntimeError: no thread can be had.
        """
        threads.start(self._run)

    def refrain(self) -> None:
        """Never serve, and have nobody else keep the port by a copy of the socket."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        # Here, because only the process that serves the port is to pay for the import.
        with apart_from_forks():
            from waitress.server import create_server

        failure = None
        try:
            server = create_server(
                self._app,
                map=self._map,
                sockets=[self._listener],
                threads=_THREADS,
                # Nothing here reads a body; waitress would take one of 1 GB to disk.
                max_request_body_size=_MAX_BODY_BYTES,
            )
            # Scrapes that wait for one another are no news for the application's log.
            server.task_dispatcher.queue_logger = logging.getLogger("otelmon.port.queue")
            server.task_dispatcher.queue_logger.setLevel(logging.ERROR)
            with self._lock:
                self._server, ending = server, self._ending
            if not ending:
                server.run()
        except Exception as error:  # noqa: BLE001 - the thread has nobody else to tell
            failure = error
        finally:
            self._stop()
            self._listener.close()
            # Last: whoever is told of it may take the port for its own.
            self.failure = failure
            self._ended.ring()

    def end(self) -> None:
        """Stop serving; wait for the answers that are being given, but not for long."""
        with self._lock:
            self._ending = True
            server = self._server
        if server is not None:
            # Only the loop's own thread may close what it waits for: descriptors are used again.
            with contextlib.suppress(OSError):
                server.trigger.pull_trigger(self._stop)
        self._ended.wait(3 * _END_SECONDS)

    def _stop(self) -> None:
        from waitress.wasyncore import close_all

        if self._server is not None:
            # First the threads: one that answers yet would write to the loop's pipe.
            self._server.task_dispatcher.shutdown(timeout=_END_SECONDS)
        close_all(self._map, ignore_all=True)

    def forget(self) -> None:
        """Close the sockets in a forked child, which has none of the threads."""
        for channel in list(self._map.values()):
            with contextlib.suppress(OSError):
                channel.socket.close()
        self._listener.close()


def _listen(address: tuple[str, int]) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    os.set_inheritable(listener.fileno(), False)
    return listener
