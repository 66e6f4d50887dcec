"""A process that the demo starts and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import IO, TYPE_CHECKING, Self


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_PATIENCE = 10.0  # seconds to end by itself once asked to


class Child:
    """A process with its own children in a process group of its own.

    So Ctrl-C reaches us alone, and we end the children in their order. As a context manager it
    leaves nothing behind.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        output: IO[bytes] | None = None,
        files: Sequence[int] = (),
        patience: float = _PATIENCE,
    ) -> None:
        """Start it. *files* stay open in it; *output* takes all it says, by default ours does."""
        self._patience = patience
        self._process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=files,
            process_group=0,
        )
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative by a signal; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end, and end it and its children by force where that does not help."""
        if self.exit_code is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._patience)
        # Nobody is left after an orderly end; after any other, children may be.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
