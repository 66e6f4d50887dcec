"""A program that serves without gunicorn: started, told what to do, killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from tests.free_ports import free_port
from tests.gunicorn_server import ROOT, Answer, ask
from tests.inventory import Inventory
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class Program:
    """tests.apps.standalone as a process of its own; a context manager."""

    def __init__(self, server: str, directory: Path, port: int, **env: str) -> None:
        """Describe it."""
        self.port, self.metrics_port = port, free_port()
        module = "tests.apps.green" if server == "gevent" else "tests.apps.standalone"
        self._command = [sys.executable, "-m", module, server, str(port)]
        self._env = {
            **os.environ,  # noqa: TID251 - a child needs its PATH
            "OTELMON_DIR": str(directory / "ledger"),
            "PROMETHEUS_PORT": str(self.metrics_port),
            "ENABLE_PROMETHEUS": "true",
            **env,
        }
        self._log = directory / f"{server}-{self.metrics_port}.log"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it listens."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert until(lambda: self.port in Inventory.of(self.pid).ports, 60), self._log.read_text()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End its input, and it by force if that does not do."""
        assert self._process is not None
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def pid(self) -> int:
        """Return its process id."""
        assert self._process is not None
        return self._process.pid

    def tell(self, command: str) -> Inventory:
        """Have it obey; return what it holds then."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return Inventory.load(self._process.stdout.readline())

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
