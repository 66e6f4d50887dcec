"""A real gunicorn: started on a free port, asked over HTTP, ended and reaped whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from otelmon.sidecar import NAME
from tests.daemon import Daemon
from tests.free_ports import free_port
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from typing import BinaryIO


ROOT = Path(__file__).parent.parent
_PROMOTED = "Master has been promoted."
_LISTENING = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Answer:
    """What an HTTP server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def slot(self) -> int:
        """Return the slot of the worker that answered, as tests.apps.plain tells it."""
        return int(self.headers["X-Slot"])

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode()

    def json(self) -> Any:  # noqa: ANN401 - whatever it is
        """Return the body parsed."""
        return json.loads(self.body)


def ask(
    port: int,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 60.0,
) -> Answer:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


class Gunicorn(Daemon):
    """One running gunicorn and its two ports; a context manager."""

    def __init__(  # noqa: PLR0913 - each is optional and named
        self,
        directory: Path,
        *,
        app: str = "tests.apps.plain:app",
        workers: int = 4,
        worker_class: str = "sync",
        preload: bool = False,
        args: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        prometheus: bool = True,
        port: int = 0,
        prefix: tuple[str, ...] = (),
    ) -> None:
        """Describe the server; entering the context starts it. *prefix* is a command that runs it.

        *directory* takes its log and, unless *env* says otherwise, its ledger. Give a *port* where
        gunicorn does not tell the one that it chose.
        """
        self.directory = directory
        self.ledgers = directory / "ledger"
        self.metrics_port = free_port()
        self.port = port
        self._workers = workers
        command = [
            *prefix,
            # The script, not the module: after USR2 gunicorn runs that as a file, and its own
            # package `http` then hides the standard library's.
            *(str(Path(sys.executable).with_name("gunicorn")), "--no-control-socket"),
            *("-b", f"127.0.0.1:{port}"),
            # A worker that is asked to end while it boots does not hear it.
            *("--graceful-timeout", "5"),
            *("-w", str(workers), "-k", worker_class, "--chdir", str(ROOT)),
            *(["--preload"] if preload else []),
            *args,
            app,
        ]
        super().__init__(
            command,
            log_path=directory / "gunicorn.log",
            env={
                **os.environ,  # noqa: TID251 - a child needs its PATH
                "OTELMON_DIR": str(self.ledgers),
                "PROMETHEUS_PORT": str(self.metrics_port),
                "ENABLE_PROMETHEUS": "true" if prometheus else "false",
                **(env or {}),
            },
            # One without a gunicorn.conf.py, which gunicorn would read.
            cwd=directory,
        )
        self._handed: tuple[int, ...] = ()
        self._arbiter: psutil.Process | None = None

    def __exit__(self, *_error: object) -> None:
        """End it and everything it has started."""
        self.stop()

    def _started(self, log: BinaryIO) -> subprocess.Popen[Any]:
        # It tells its port there, and not that of a server before it.
        log.truncate(0)
        process = subprocess.Popen(
            self._command,
            env=self._env,
            cwd=self._cwd,
            stdout=log,
            stderr=log,
            pass_fds=self._handed,
        )
        self._arbiter = psutil.Process(process.pid)
        return process

    def _end(self) -> None:
        self.kill()

    def refusal(self) -> int:
        """Start it where it is bound to end by itself; return its exit code."""
        self._launch()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def is_ready(self) -> bool:
        """Tell whether it listens."""
        if self.port:
            return _reachable(self.port)
        found = _LISTENING.search(self.log)
        if found is not None:
            self.port = int(found[1])
        return found is not None

    @property
    def pid(self) -> int:
        """Return the arbiter's process id."""
        assert self._arbiter is not None
        return self._arbiter.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the arbiter."""
        os.kill(self.pid, number)

    def get(self, path: str, **options: Any) -> Answer:  # noqa: ANN401 - as for ask()
        """Ask the application's port."""
        return ask(self.port, path, **options)

    def ops(self, path: str, **options: Any) -> Answer:  # noqa: ANN401 - as for ask()
        """Ask the metrics port."""
        return ask(self.metrics_port, path, **options)

    def try_ops(self, path: str) -> Answer | None:
        """Ask the metrics port, which for a moment nobody may serve."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ops(path, timeout=10)
        return None

    def workers(self) -> list[psutil.Process]:
        """Return the workers that the kernel knows of."""
        return [child for child in self._children() if not is_sidecar(child)]

    def sidecars(self) -> list[psutil.Process]:
        """Return the processes that are there for the metrics port alone."""
        return [child for child in self._children() if is_sidecar(child)]

    def _children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child for child in psutil.Process(self.pid).children() if _alive(child)]
        return []

    @contextlib.contextmanager
    def only(self, worker: psutil.Process) -> Iterator[None]:
        """Have one certain worker take all requests: the others are stopped for so long."""
        others = [each for each in self.workers() if each != worker]
        try:
            for each in others:
                # One that was just killed may be gone before it is asked.
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.suspend()
            yield
        finally:
            for each in others:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.resume()

    def listeners(self) -> dict[int, set[int]]:
        """Return the ports that arbiter and workers listen on, each with the pids that do."""
        found: dict[int, set[int]] = {}
        for process in [psutil.Process(self.pid), *self.workers()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                for socket_ in process.net_connections("tcp"):
                    if socket_.status == psutil.CONN_LISTEN:
                        found.setdefault(socket_.laddr.port, set()).add(process.pid)
        return found

    def wait_for_workers(self, count: int | None = None, seconds: float = 60) -> None:
        """Wait until the metrics port answers and shows *count* workers, all by default."""
        wanted = self._workers if count is None else count

        def shown() -> bool:
            answer = self.try_ops("/api/metrics")
            return answer is not None and answer.json()["workers"]["total"] == wanted

        assert until(shown, seconds, every=0.05), self.log

    def upgrade(self) -> int:
        """Replace the arbiter by a new one, as USR2 and QUIT do; return 0, the workers killed."""
        old = psutil.Process(self.pid)
        workers = set(self.workers())
        old.send_signal(signal.SIGUSR2)
        self.follow(old, workers)
        return 0

    def follow(self, old: psutil.Process, workers: Container[psutil.Process] = ()) -> None:
        """End the *old* arbiter once its successor has workers; these are the old one's *workers*."""
        found: list[psutil.Process] = []

        def has_one() -> bool:
            # Kept as it was found: a moment later a worker may be gone again.
            found[:] = self._successors(old, workers)
            return bool(found)

        assert until(has_one, 60), self.log
        (self._arbiter,) = found
        promotions = self.log.count(_PROMOTED)
        old.send_signal(signal.SIGQUIT)
        self.process.wait(60)
        # Before it has noticed that its parent is gone, it refuses a next upgrade.
        assert until(lambda: self.log.count(_PROMOTED) > promotions, 60), self.log

    def _successors(self, old: psutil.Process, workers: Container[psutil.Process]) -> Iterator[Any]:
        """Yield the new arbiter, once it has workers of its own."""
        for child in old.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                grown = [each for each in child.children() if not is_sidecar(each)]
                if child not in workers and len(grown) >= self._workers:
                    yield child

    def stop(self) -> None:
        """End it as an operator would, and by force if it does not listen."""
        if self._arbiter is None:
            return
        family = self._family()
        with contextlib.suppress(psutil.NoSuchProcess):
            self._arbiter.terminate()
        if not self._ended(20):
            self.kill()
        # Whatever of it outlives the arbiter, as a successor does that was not followed.
        for process in psutil.wait_procs(family, 3)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._arbiter = None

    def _family(self) -> list[psutil.Process]:
        assert self._arbiter is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return self._arbiter.children(recursive=True)
        return []

    def _ended(self, seconds: float) -> bool:
        arbiter, process = self._arbiter, self.process
        # Ours is to be waited for; after an upgrade the arbiter is somebody else's child.
        return until(lambda: process.poll() is not None and not _alive(arbiter), seconds)

    def kill(self) -> None:
        """Kill the arbiter and all below it, by their ids."""
        assert self._arbiter is not None
        for process in [self._arbiter, *self._family()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert self._ended(30)


def _reachable(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def is_sidecar(process: psutil.Process) -> bool:
    """Tell whether a child of the arbiter is no worker: by its name."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.name() == NAME)
    return False


def _alive(process: psutil.Process | None) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    return False
