"""Locks on parts of a shared memory, each for one thread of one process at a time.

The kernel's lock on a byte is the process's: it keeps out other processes, gives way if its holder
dies, and knows nothing of threads. So each part has a lock of the process beside it. Both are
waited for until a deadline; nothing in between gives gevent a chance to switch.
"""

from __future__ import annotations

import _thread
import time
from typing import TYPE_CHECKING, Any, Final

from otelmon.threads import Alarm, original


if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelmon.ledger.locks import RangeLocks


SECONDS: Final = 0.25
"""How long somebody may wait who takes locks, for all of them together"""
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

    def take(self, stripes: Sequence[int]) -> None:
        """Take these, in rising order as all do, so that none waits in a ring; see `give`.

        Raises:
            TimeoutError: one could not be had in time; then none is taken.
            OSError: the kernel has no locks to give.
        """
        if len(stripes) == 1 and self._taken_at_once(stripes[0]):
            return
        taken = 0
        deadline = time.monotonic() + self._seconds
        try:
            for stripe in stripes:
                self._take(stripe, deadline)
                taken += 1
        except BaseException:
            self.give(stripes[:taken])
            raise

    def give(self, stripes: Sequence[int]) -> None:
        """Give back what was taken."""
        for stripe in stripes:
            try:
                if self._between is not None:
                    self._between.give(stripe)
            finally:
                self._within[stripe].release()

    def _taken_at_once(self, stripe: int) -> bool:
        """Take a lock that nobody has, which is nearly always so; tell if it is taken."""
        within, taken = self._within[stripe], False
        if within.acquire(False):
            try:
                taken = self._between is None or self._between.take(stripe)
            finally:
                if not taken:
                    within.release()
        return taken

    def _take(self, stripe: int, deadline: float) -> None:
        within = self._within[stripe]
        if not within.acquire(False) and not within.acquire(
            True, max(0.0, deadline - time.monotonic())
        ):
            raise TimeoutError(f"A thread of this process has held a lock for {self._seconds} s.")
        try:
            if self._between is not None and not self._between.take(stripe):
                self._wait_for(stripe, self._between, deadline)
        except BaseException:
            within.release()
            raise

    def _wait_for(self, stripe: int, between: RangeLocks, deadline: float) -> None:
        pause = _FIRST_PAUSE
        while not between.take(stripe):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Another process has held a lock for {self._seconds} s.")
            Alarm().wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
