"""gunicorn with the shop in it, as a child process."""

from __future__ import annotations

import errno
import socket
import sys
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final

from otelmon.demo.child import Child
from otelmon.demo.errors import DemoError


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


HOST: Final = "127.0.0.1"

_BACKLOG = 2048  # gunicorn's own default
_THREADS = "4"  # of a gthread worker; gunicorn's default of 1 would make it a sync one
_TIMEOUT = 1.0  # seconds; short, because a signal is only looked for in between
_LAST_LINES = 15
_LAST_BYTES = 16_384


def reserve(port: int) -> socket.socket:
    """Return a listening socket on *port*, 0 for any free one; DemoError if it cannot be had.

    gunicorn inherits it: so nobody takes the port between our look at it and gunicorn's start.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise DemoError(
            f"Port {port} cannot be used ({error.strerror}): stop what listens there or choose "
            "another one with --port."
        ) from None
    return listener


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens on *port*. What else might be wrong with it is not ours to tell."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


class Server(Child):
    """The shop under gunicorn, in a *directory* that takes its data and its log."""

    def __init__(
        self,
        listener: socket.socket,
        directory: Path,
        environ: Mapping[str, str],
        *,
        workers: int,
        worker_class: str,
    ) -> None:
        """Start gunicorn on *listener*, which is closed here: from now on it is gunicorn's."""
        self.port: int = listener.getsockname()[1]
        self.log = directory / "gunicorn.log"
        command = [sys.executable, "-m", "gunicorn", "-c", "python:otelmon.demo.gunicorn_conf"]
        command += ["--bind", f"fd://{listener.fileno()}", "--no-control-socket"]
        command += ["--workers", str(workers), "--worker-class", worker_class]
        if worker_class == "gthread":
            command += ["--threads", _THREADS]
        # Not by the child's cwd: in a checkout that is where python -m finds the packages.
        command += ["--chdir", str(directory)]
        with listener, self.log.open("wb") as log:
            super().__init__(command, environ=environ, output=log, files=[listener.fileno()])

    @property
    def url(self) -> str:
        """The address of the shop, without a slash at its end."""
        return f"http://{HOST}:{self.port}"

    def check(self) -> None:
        """Raise DemoError, with the end of the log, if gunicorn has ended."""
        if self.exit_code is not None:
            raise DemoError(f"gunicorn ended by itself{self._how()}:\n{self.last_lines()}")

    def _how(self) -> str:
        code = self.exit_code or 0
        return f" by signal {-code}" if code < 0 else f" with exit code {code}"

    def last_lines(self) -> str:
        """Return the end of gunicorn's log."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LAST_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])

    def get(self, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body of a page; OSError or HTTPException without an answer."""
        connection = HTTPConnection(HOST, self.port, timeout=_TIMEOUT)
        try:
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def answers(self, path: str) -> bool:
        """Whether a worker answers, whatever it says."""
        try:
            self.get(path, {})
        except (OSError, HTTPException):
            return False
        return True
