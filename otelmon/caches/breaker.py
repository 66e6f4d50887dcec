"""A breaker: what has failed several times in a row is left alone for a while, then tried once.

Nothing is held while a call runs, so calls that hang do not wait for each other.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import time
import weakref
from typing import TYPE_CHECKING, Final

from otelmon.threads import original


if TYPE_CHECKING:
    from collections.abc import Callable


log = logging.getLogger("otelmon")

CLOSED: Final = 0
HALF_OPEN: Final = 1
OPEN: Final = 2

_breakers: weakref.WeakSet[Breaker] = weakref.WeakSet()


class Breaker:
    """Closed, it lets all calls pass; open, none; half open, one, whose end decides."""

    def __init__(
        self,
        name: str,
        *,
        failures: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open after *failures* in a row; try again after *seconds*."""
        self.name = name
        self.told: Callable[[int], object] = lambda _: None
        """Called with each new state"""
        self._most = failures
        self._seconds = seconds
        self._clock = clock
        self.forget()
        _breakers.add(self)

    def forget(self) -> None:
        """Be closed, as in a forked child: it has connections of its own to learn by."""
        self._failed = 0
        self._again: float | None = None
        self._probe = original(_thread, "allocate_lock")()
        self._probe_until = 0.0

    @property
    def state(self) -> int:
        """Return how it stands now."""
        if self._again is None:
            return CLOSED
        return HALF_OPEN if self._probe.locked() else OPEN

    def admit(self) -> bool:
        """Tell if a call may be made; each one that may says later how it went."""
        again = self._again
        if again is None:
            return True
        now = self._clock()
        if now < again:
            return False
        if self._probe.locked() and now >= self._probe_until:
            # Whoever made that call has never said how it went.
            self._let_go()
        if not self._probe.acquire(False):
            return False
        self._probe_until = now + self._seconds
        self.told(HALF_OPEN)
        return True

    def passed(self) -> None:
        """Say that a call had an answer."""
        if self._failed:
            self._failed = 0
        if self._again is not None:
            self._again = None
            self._let_go()
            self.told(CLOSED)
            log.warning("Redis at %s answers again; its breaker is closed.", self.name)

    def failed(self) -> None:
        """Say that a call had none."""
        self._failed += 1
        if self._again is None and self._failed < self._most:
            return
        opened = self._again is None
        self._again = self._clock() + self._seconds
        self._let_go()
        self.told(OPEN)
        if opened:
            log.warning(
                "Redis at %s has failed %d times in a row: it is left alone, and tried every %g s.",
                self.name,
                self._failed,
                self._seconds,
            )

    def dropped(self) -> None:
        """Say that a call ended without telling anything of the server."""
        if self._again is not None:
            self._let_go()

    def _let_go(self) -> None:
        # Of two threads that find it so only one can.
        with contextlib.suppress(RuntimeError):
            self._probe.release()


def _forget_all() -> None:
    for each in tuple(_breakers):
        each.forget()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forget_all)
