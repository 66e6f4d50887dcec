"""A program that serves HTTP until it is ended, and tells on `/-/ready` when it does."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, Self

from tests.gunicorn_server import ask
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


class Daemon:
    """One of them, on *port* and with its words in *log_path*; a context manager."""

    def __init__(self, command: list[str], *, port: int, log_path: Path) -> None:
        """Describe it; entering the context starts it."""
        self.port = port
        self._command = command
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it is ready."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            assert until(self._is_ready, 60), self.log
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """End it."""
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with contextlib.suppress(OSError):
            return ask(self.port, "/-/ready").status == 200
        return False

    @property
    def log(self) -> str:
        """Return all that it has logged so far."""
        return self._log_path.read_text()
