"""A program of Prometheus' family, which tells on `/-/ready` when it serves."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.daemon import Daemon
from tests.gunicorn_server import ask


if TYPE_CHECKING:
    from pathlib import Path


class PrometheusProgram(Daemon):
    """One of them, on *port*."""

    def __init__(self, command: list[str], *, port: int, log_path: Path) -> None:
        """Describe it."""
        super().__init__(command, log_path=log_path)
        self.port = port

    def is_ready(self) -> bool:
        """Ask it."""
        with contextlib.suppress(OSError):
            return ask(self.port, "/-/ready").status == 200
        return False
