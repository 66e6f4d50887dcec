"""`otelmon demo` as a person runs it: in a terminal of its own, with an empty home."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psutil

from tests.daemon import Daemon
from tests.free_ports import free_port
from tests.gunicorn_server import ask
from tests.waiting import until


if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from typing import BinaryIO

    from tests.gunicorn_server import Answer


ROOT: Final = Path(__file__).resolve().parent.parent
OPEN: Final = "Ctrl-C"
"""Stands in the last line that is said before the shop is watched over."""

_ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:(\d+)(/\S*)")


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that is dead and whose parent is gone does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


class Demo(Daemon):
    """One running demo; a context manager that leaves nothing behind."""

    def __init__(
        self, directory: Path, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> None:
        """Describe it; entering the context starts it. It writes below *directory* only."""
        self.home, self.temporary = directory / "home", directory / "temporary"
        self.metrics_port = free_port()
        self._err = directory / "err"
        # A run of the tests that ignores hang-ups, as by nohup, is not to hand that on.
        terminal = ["env", "--default-signal=HUP", "setsid", "--ctty"]
        super().__init__(
            [*terminal, sys.executable, "-m", "otelmon", "demo", *arguments],
            log_path=directory / "out",
            env={
                **os.environ,  # noqa: TID251 - a child needs its PATH
                "HOME": str(self.home),
                "TMPDIR": str(self.temporary),
                "PROMETHEUS_PORT": str(self.metrics_port),
                **(environ or {}),
            },
            cwd=ROOT,
        )
        self._keyboard = -1

    def __enter__(self) -> Self:
        """Start it; it is not open yet."""
        self.home.mkdir()
        self.temporary.mkdir()
        self._launch()
        return self

    def _started(self, log: BinaryIO) -> subprocess.Popen[Any]:
        self._keyboard, terminal = os.openpty()
        try:
            with self._err.open("wb") as err:
                return subprocess.Popen(
                    self._command,
                    cwd=self._cwd,
                    env=self._env,
                    stdin=terminal,
                    stdout=log,
                    stderr=err,
                )
        finally:
            os.close(terminal)

    def _end(self) -> None:
        """Stop it, and by force whatever of it is left."""
        family = self.family()
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        for process in psutil.wait_procs(family, 3)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)
        if self._keyboard >= 0:
            self.hang_up()

    @property
    def said(self) -> str:
        """All that it said so far."""
        return self.log

    @property
    def complained(self) -> str:
        """All that it said to stderr so far."""
        return self._err.read_text()

    def wait_for(self, words: str, seconds: float = 60) -> None:
        """Wait until it has said *words*."""

        def ready() -> bool:
            # Before the look at what it said: what it says last counts.
            ended = self.process.poll() is not None
            if words in self.said:
                return True
            assert not ended, self.said + self.complained
            return False

        assert until(ready, seconds, every=0.05), self.said + self.complained

    def addresses(self) -> list[tuple[int, str]]:
        """Return the addresses that it named, as port and path."""
        return [(int(port), path) for port, path in _ADDRESS.findall(self.said)]

    @property
    def port(self) -> int:
        """The shop's port."""
        return self.addresses()[0][0]

    def get(self, path: str) -> Answer:
        """Ask the shop."""
        return ask(self.port, path)

    def figure(self, part: str, name: str) -> Any:  # noqa: ANN401 - whatever it is
        """Return what `/api/metrics` says."""
        return self.get("/api/metrics").json()[part][name]

    def family(self) -> list[psutil.Process]:
        """Return the command's process and all below it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        return []

    def press_ctrl_c(self) -> None:
        """Type it: the terminal tells whoever runs in its foreground."""
        os.write(self._keyboard, b"\x03")

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self._keyboard)
        self._keyboard = -1

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command alone."""
        self.process.send_signal(number)

    def end(self, seconds: float = 60) -> int:
        """Wait until it ends; return the exit code."""
        return self.process.wait(seconds)
