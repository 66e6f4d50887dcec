"""A program that serves without gunicorn: started, told what to do, killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.daemon import Daemon
from tests.free_ports import free_port
from tests.gunicorn_server import ROOT, Answer, ask
from tests.inventory import Inventory


if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


class Program(Daemon):
    """tests.apps.standalone as a process of its own; a context manager."""

    def __init__(self, server: str, directory: Path, port: int, **env: str) -> None:
        """Describe it."""
        self.port, self.metrics_port = port, free_port()
        module = "tests.apps.green" if server == "gevent" else "tests.apps.standalone"
        super().__init__(
            [sys.executable, "-m", module, server, str(port)],
            log_path=directory / f"{server}-{self.metrics_port}.log",
            env={
                **os.environ,  # noqa: TID251 - a child needs its PATH
                "OTELMON_DIR": str(directory / "ledger"),
                "PROMETHEUS_PORT": str(self.metrics_port),
                "ENABLE_PROMETHEUS": "true",
                **env,
            },
            cwd=ROOT,
        )

    def _started(self, log: BinaryIO) -> subprocess.Popen[Any]:
        return subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def is_ready(self) -> bool:
        """Tell whether it listens."""
        return self.port in Inventory.of(self.pid).ports

    def _end(self) -> None:
        """End its input, and it by force if that does not do."""
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate(timeout=30)

    def tell(self, command: str) -> Inventory:
        """Have it obey; return what it holds then."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return Inventory.load(self.process.stdout.readline())

    def get(self, path: str) -> Answer:
        """Ask the application's port."""
        return ask(self.port, path)

    def ops(self, path: str) -> Answer | None:
        """Ask the metrics port, if somebody serves it."""
        with contextlib.suppress(OSError):
            return ask(self.metrics_port, path)
        return None

    def is_up(self) -> bool:
        """Tell whether the metrics port shows the program as the one worker, and the host."""
        answer = self.ops("/api/metrics")
        if answer is None:
            return False
        said = answer.json()
        return said["workers"]["total"] == 1 and said["system"]["memory_total"] is not None
