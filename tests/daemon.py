"""A program that serves until it is ended: started, waited for, ended and reaped whatever happens."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any, Final, Self

from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO


BOOT_SECONDS: Final = 60


class Daemon:
    """One of them, with its words in *log_path*; a context manager, that can be entered again."""

    def __init__(
        self,
        command: list[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
    ) -> None:
        """Describe it; entering the context starts it. *env* is all that it has, by default ours."""
        self.log_path = log_path
        self._command = command
        self._env = dict(os.environ if env is None else env)  # noqa: TID251 - a child needs its PATH
        self._cwd = cwd
        self._process: subprocess.Popen[Any] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it is ready."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End it."""
        self._end()

    def start(self) -> None:
        """Start it, and wait until it is ready; one that does not become so is ended."""
        self._launch()
        try:
            assert until(self._goes_well, BOOT_SECONDS), f"not ready: {self.log}"
        except BaseException:
            self._end()
            raise

    def _launch(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = self._started(log)

    def _started(self, log: BinaryIO) -> subprocess.Popen[Any]:
        return subprocess.Popen(self._command, env=self._env, cwd=self._cwd, stdout=log, stderr=log)

    def _goes_well(self) -> bool:
        assert self.process.poll() is None, f"it ended: {self.log}"
        return self.is_ready()

    def is_ready(self) -> bool:
        """Tell whether it serves."""
        # Each kind of program says so in its own way; who waits for something else starts by itself.
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(30)

    def _end(self) -> None:
        """Ask it to end, and end it by force if it does not listen."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def process(self) -> subprocess.Popen[Any]:
        """The process that was started."""
        assert self._process is not None, "it was not started"
        return self._process

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    @property
    def log(self) -> str:
        """Return all that it has said so far."""
        return self.log_path.read_text(errors="replace")
