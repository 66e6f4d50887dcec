"""Locks on parts of a shared memory, each for one thread of one process at a time.

The kernel's lock on a byte is the process's: it keeps out other processes, gives way if its holder
dies, and knows nothing of threads. So each part is one thread's turn beside it. Both are waited for
until a deadline; nothing in between gives gevent a chance to switch.

A signal handler of the application's may raise at any call, also in the first and the last of those
who take and give, and whoever it throws out there cannot give back. So a turn says whose it is and
since when, and the next one takes over what is left behind. A lock could not tell.
"""

from __future__ import annotations

import _thread
import time
from typing import TYPE_CHECKING, Final

from otelmon.ledger.pen import FREE_THREADED
from otelmon.threads import Alarm, original


if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelmon.ledger.locks import RangeLocks

    Turn = tuple[int, float]
    """Of which thread, and when it began: no two are the same object"""


SECONDS: Final = 0.25
"""How long somebody may wait who takes locks, for all of them together"""
_FIRST_PAUSE: Final = 0.000_05
_LONGEST_PAUSE: Final = 0.002
# Locks are held for some ten microseconds, but a machine may stand still for seconds.
_LEFT_SECONDS: Final = 10.0


class Stripes:
    """So many locks; without *between* they hold within this process alone."""

    def __init__(self, count: int, between: RangeLocks | None, *, seconds: float = SECONDS) -> None:
        """Make the locks of this process; they do not outlive a fork."""
        self._holders: list[Turn | None] = [None] * count
        self._between = between
        self._seconds = seconds
        self._ident = original(_thread, "get_ident")
        self._one = original(_thread, "RLock")()

    def turn(self) -> Turn:
        """Return what to take and give with: once, by the thread that does."""
        return self._ident(), time.monotonic()

    def take(self, stripes: Sequence[int], turn: Turn) -> None:
        """Take these, in rising order as all do, so that none waits in a ring.

        Whatever comes of it, `give` must follow.

        Raises:
            TimeoutError: one could not be had in time.
            OSError: the kernel has no locks to give.
        """
        deadline = turn[1] + self._seconds
        between = self._between
        for stripe in stripes:
            if not self._begin(stripe, turn):
                self._wait_for_thread(stripe, turn, deadline)
            if between is not None and not between.take(stripe):
                self._wait_for_process(stripe, between, deadline)

    def give(self, stripes: Sequence[int], turn: Turn) -> None:
        """Give back what was taken of these in this turn."""
        holders = self._holders
        for stripe in stripes:
            if holders[stripe] is turn:
                try:
                    if self._between is not None:
                        self._between.give(stripe)
                finally:
                    holders[stripe] = None

    def _begun(self, stripe: int, turn: Turn) -> bool:
        """Begin a turn if it is nobody's, or was left behind; tell if it is begun."""
        holders = self._holders
        # From look to store there is no call, so it is one step where there is a GIL.
        holder = holders[stripe]
        if (
            holder is None
            # By itself: whoever holds one comes here again only after it was thrown out.
            or holder[0] == turn[0]
            or holder[1] + _LEFT_SECONDS < turn[1]
        ):
            holders[stripe] = turn
            return True
        return False

    def _begun_alone(self, stripe: int, turn: Turn) -> bool:
        """Do that where threads run at once."""
        with self._one:
            return self._begun(stripe, turn)

    _begin = _begun_alone if FREE_THREADED else _begun

    def _wait_for_thread(self, stripe: int, turn: Turn, deadline: float) -> None:
        pause = _FIRST_PAUSE
        while not self._begin(stripe, turn):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"A thread of this process has held a lock for {self._seconds} s."
                )
            Alarm().wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _wait_for_process(self, stripe: int, between: RangeLocks, deadline: float) -> None:
        pause = _FIRST_PAUSE
        while not between.take(stripe):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Another process has held a lock for {self._seconds} s.")
            Alarm().wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
