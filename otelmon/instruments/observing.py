"""What the `observe_...` calls share: the object that ends one, and words that stay few."""

from __future__ import annotations

import os
from _thread import RLock
from typing import TYPE_CHECKING, Final, Self


if TYPE_CHECKING:
    from collections.abc import Callable


SCOPE: Final = "otelmon.instruments"
"""The scope of what is measured of libraries"""
OTHER: Final = "_OTHER"
"""The semantic conventions' word for all that has none of its own"""


class Turns:
    """Whose turn it is to begin or to end an observation; nothing that is recorded waits for it."""

    def __init__(self) -> None:
        """It is nobody's."""
        self.forget()

    def forget(self) -> None:
        """Start anew, as a forked child does: a thread that is gone there may have had its turn."""
        self.lock = RLock()


turns = Turns()
if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=turns.forget)


class Observing:
    """An observation that goes on until it is closed, once, by whoever began it."""

    def __init__(self, end: Callable[[], None]) -> None:
        """End it by *end*."""
        self._end: Callable[[], None] | None = end

    def close(self) -> None:
        """End it; a second time does nothing."""
        with turns.lock:
            end, self._end = self._end, None
            if end is not None:
                end()

    def __enter__(self) -> Self:
        """Observe for the length of a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()


class Few:
    """The first *limit* words as they are, every later one as `_OTHER`.

    Classes and loggers are named by code, and so are few; somebody may still make them by the
    dozen. There is no lock: threads that bring new words at the same moment may each get theirs.
    """

    def __init__(self, limit: int) -> None:
        """Begin without any."""
        self._limit = limit
        self._known: dict[str, str] = {}

    def __call__(self, word: str) -> str:
        """Return *word*, or `_OTHER`."""
        known = self._known.get(word)
        if known is not None:
            return known
        if len(self._known) >= self._limit:
            return OTHER
        return self._known.setdefault(word, word)
