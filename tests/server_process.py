"""A WSGI server of any kind, started by its own command: asked, reloaded, ended and reaped."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from tests.daemon import Daemon
from tests.free_ports import free_port
from tests.gunicorn_server import ROOT, Answer, ask


if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO


class Kind(NamedTuple):
    """A way to serve tests.apps.plain."""

    command: Callable[[int, Path], list[str]]
    """What starts it on a port, with a directory for what it writes"""
    workers: int = 1
    """How many processes answer requests"""
    reload: signal.Signals | None = None
    """What has it replace them"""


class ServerProcess(Daemon):
    """One running server and its two ports; a context manager."""

    def __init__(self, kind: Kind, directory: Path, **env: str) -> None:
        """Describe it; *directory* takes its log and its ledger."""
        self.kind = kind
        self.port, self.metrics_port = free_port(), free_port()
        self.ledgers = directory / "ledger"
        super().__init__(
            kind.command(self.port, directory),
            log_path=directory / "log",
            env={
                **os.environ,  # noqa: TID251 - a child needs its PATH
                "OTELMON_DIR": str(self.ledgers),
                "PROMETHEUS_PORT": str(self.metrics_port),
                "ENABLE_PROMETHEUS": "true",
                "MONITORING_INTERVAL": "1",
                # uWSGI, reloaded, starts the Python that .venv was made with.
                "PYTHONPATH": os.pathsep.join((str(ROOT), *_packages())),
                **env,
            },
            cwd=ROOT,
        )
        self._family: set[psutil.Process] = set()

    def _started(self, log: BinaryIO) -> subprocess.Popen[Any]:
        log.truncate(0)
        return super()._started(log)

    def is_ready(self) -> bool:
        """Tell whether it listens; no request is sent."""
        return is_open(self.port)

    def _end(self) -> None:
        """End it, and what is left of it by force."""
        self.end()
        for process in self.left():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)

    def get(self, path: str) -> Answer:
        """Ask the application's port."""
        return ask(self.port, path, headers={"Connection": "close"})

    def answers(self, path: str) -> bool:
        """Tell whether the application's port answers."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get(path).status == 200
        return False

    def ops(self, path: str) -> Answer | None:
        """Ask the metrics port, if somebody serves it."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(self.metrics_port, path)
        return None

    def server_of(self, port: int) -> psutil.Process | None:
        """Return a process that listens on *port*."""
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                if any(
                    each.status == psutil.CONN_LISTEN and each.laddr.port == port
                    for each in process.net_connections("tcp")
                ):
                    return process
        return None

    def family(self) -> list[psutil.Process]:
        """Return the processes of the server that live, and remember them."""
        found: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(self.pid)
            found = [server, *server.children(recursive=True)]
        self._family.update(found)
        return found

    def terminate(self) -> None:
        """Ask it to end."""
        if self.process.poll() is None:
            self.process.terminate()

    def end(self) -> None:
        """Ask it to end, and wait until it has and its processes with it."""
        self.family()
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        psutil.wait_procs(self._family, 30)

    def left(self) -> list[psutil.Process]:
        """Return which of its processes still live."""
        return [process for process in self._family if process.is_running()]


def is_open(port: int) -> bool:
    """Tell whether anybody listens on *port*."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _packages() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]
