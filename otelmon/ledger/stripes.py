"""Locks on parts of a shared memory, each for one thread of one process at a time.

The kernel's lock on a byte is the process's: it keeps out other processes, gives way if its holder
dies, and knows nothing of threads. So each part has a lock of the process beside it. Both are
waited for until a deadline; nothing in between gives gevent a chance to switch.
"""

from __future__ import annotations

import _thread
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from otelmon.threads import Alarm, original


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otelmon.ledger.locks import RangeLocks


SECONDS: Final = 0.25
"""How long a request may wait for all of its locks"""
_FIRST_PAUSE: Final = 0.000_05
_LONGEST_PAUSE: Final = 0.002


class Stripes:
    """So many locks; without *between* they hold within this process alone."""

    def __init__(self, count: int, between: RangeLocks | None, *, seconds: float = SECONDS) -> None:
        """Make the locks of this process; they do not outlive a fork."""
        make = original(_thread, "allocate_lock")
        self._within: list[Any] = [make() for _ in range(count)]
        self._between = between
        self._seconds = seconds

    @contextlib.contextmanager
    def held(self, stripes: Iterable[int]) -> Iterator[None]:
        """Hold these for the length of a block; all take them in one order, so none waits in a ring.

        Raises:
            TimeoutError: one could not be had in time.
            OSError: the kernel has no locks to give.
        """
        deadline = time.monotonic() + self._seconds
        taken: list[int] = []
        try:
            for stripe in sorted(stripes):
                self._take(stripe, deadline)
                taken.append(stripe)
            yield
        finally:
            for stripe in taken:
                self._give(stripe)

    def _take(self, stripe: int, deadline: float) -> None:
        within = self._within[stripe]
        left = max(0.0, deadline - time.monotonic())
        if not within.acquire(False) and not within.acquire(True, left):
            raise TimeoutError(f"A thread of this process has held a lock for {self._seconds} s.")
        try:
            self._take_between(stripe, deadline)
        except BaseException:
            within.release()
            raise

    def _take_between(self, stripe: int, deadline: float) -> None:
        if self._between is None:
            return
        pause = _FIRST_PAUSE
        while not self._between.take(stripe):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Another process has held a lock for {self._seconds} s.")
            Alarm().wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _give(self, stripe: int) -> None:
        try:
            if self._between is not None:
                self._between.give(stripe)
        finally:
            self._within[stripe].release()
