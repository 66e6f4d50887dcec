"""The least that counts something into shared memory: in flight and one histogram, under a lock."""

from __future__ import annotations

import _thread
import mmap
import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from bench.apps.plain import PassThrough
from otelmon.ledger.requests import SECONDS


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


_shared = memoryview(mmap.mmap(-1, 1 << 20)).cast("q")
_lock = _thread.allocate_lock()
_rows: dict[tuple[str, str, str], int] = {}
_bounds = tuple(round(bound * 1e9) for bound in SECONDS)


class Probe(PassThrough):
    """Counts requests in flight, and durations in one histogram, in shared memory."""

    __slots__ = ("_environ", "_started")

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        """Begin to measure."""
        with _lock:
            _shared[0] += 1
        self._environ = environ
        self._started = time.perf_counter_ns()
        super().__init__(environ, start_response)

    def close(self) -> None:
        """Book the request."""
        elapsed = time.perf_counter_ns() - self._started
        environ = self._environ
        key = (environ["REQUEST_METHOD"], environ["otelmon.route"], self.status)
        row = _rows.get(key) or _rows.setdefault(key, 16 * (len(_rows) + 1))
        with _lock:
            _shared[row + bisect_left(_bounds, elapsed)] += 1
            _shared[row + 15] += elapsed
            _shared[0] -= 1


app = Probe
