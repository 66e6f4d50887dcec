"""A request that is in flight for as long as a test looks, at a worker of the test's choice."""

from __future__ import annotations

import contextlib
import http.client
import threading
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from tests.apps.answers import HELD
from tests.held_locks import locks_of
from tests.waiting import until


if TYPE_CHECKING:
    import psutil

    from tests.gunicorn_server import Answer, Gunicorn


class Flight:
    """One request, answered at the end of the block or at `land`; a context manager."""

    def __init__(self, server: Gunicorn, worker: psutil.Process) -> None:
        """Describe the request."""
        self.answer: Answer | None = None
        self._server, self._worker = server, worker
        self._end = server.directory / f"end-{uuid4().hex}"
        self._client = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        """Send it, and wait until the application in *worker* has it."""
        with self._server.only(self._worker):
            self._client.start()
            # Accepted alone is not begun: a figure could be asked for before it counts.
            assert until(self._is_held), self._server.log
        return self

    def __exit__(self, *_: object) -> None:
        """Have it answered, if it still can be."""
        self.land()

    def land(self) -> None:
        """Have it answered, and wait for the answer, which may never come."""
        self._end.touch()
        self._client.join()

    def kill(self) -> None:
        """Kill the worker that has it, and wait until the kernel has taken back its locks.

        That is a moment later than the process is seen as a zombie: all of its threads must end.
        """
        self._worker.kill()
        assert until(lambda: not locks_of(self._worker.pid))

    @property
    def landed(self) -> bool:
        """Tell whether its answer is here."""
        return self.answer is not None

    def _send(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.answer = self._server.get(f"/hold{self._end}", timeout=60)

    def _is_held(self) -> bool:
        return self._end.with_name(f"{self._end.name}{HELD}").exists()
