"""The right to write one slot."""

from __future__ import annotations

import _thread
import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.ledger import layout
from otelmon.threads import original


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otelmon.ledger.segment import SlotView


FREE_THREADED: Final = not getattr(sys, "_is_gil_enabled", lambda: True)()
"""True where threads run at once, so that they must take turns at a slot"""


_MOST_LIVE: Final = 10_000


class Taken(NamedTuple):
    """A copy of a slot's lanes."""

    counts: list[int]
    sums: Sequence[float]
    values: Sequence[float]


def no_pen() -> None:
    """Be a weak reference to no pen."""


class Pen:
    """Writes this process's slot: whole additions only, without waiting.

    `counts[lane] += n` reads, adds and stores. CPython lets another thread, a signal handler or a
    GC callback run only between instructions that call or jump back, and there is none of these in
    that statement, so it is atomic in a process that has the GIL, and a handler that interrupts a
    recording may record too: nothing is held that it could wait for. tests/test_ledger_pen.py
    hammers on it. Without the GIL, `lock` keeps threads apart; it is re-entrant, and as a handler
    runs between the same instructions there, nothing is lost to it either.

    Hot paths store into `counts` themselves, each lane by its own statement of that form. They look
    `counts` up behind their last call: in a call another thread may lay the pen down, and what they
    looked up before it would be a slot that is another process's by now.
    """

    __slots__ = (
        "__weakref__",
        "counts",
        "down",
        "head",
        "live",
        "lock",
        "number",
        "sums",
        "values",
    )

    sums: memoryview[float]
    values: memoryview[float]

    def __init__(self, number: int, slot: SlotView) -> None:
        """Write slot *number*, which the caller has claimed."""
        self.number = number
        self.down = False
        """Whether it writes nowhere: what was stored is lost if this is so right behind the store"""
        self.head, self.counts, self.sums, self.values = slot
        self.live: dict[int, None] = {}
        """Monotonic ns at which each request in flight began, oldest first: an ordered set"""
        self.lock: contextlib.AbstractContextManager[object] = (
            original(_thread, "RLock")() if FREE_THREADED else contextlib.nullcontext()
        )

    def add(self, adds: Iterable[tuple[int, int]]) -> None:
        """Add to lanes, in the order given: (lane, amount) each, amounts never negative."""
        with self.lock:
            for lane, amount in adds:
                self.counts[lane] += amount

    def lay_down(self) -> None:
        """Write nowhere from now on: the slot is another process's, or a memory nobody reads.

        Whoever is in the middle of a request has this pen, and must not need to ask.
        """
        nowhere: Any = _Nowhere()
        # All by statements without a call: a thread sees both, or none.
        self.down = True
        self.counts, self.sums, self.values = nowhere, nowhere, nowhere

    def handed_over(self) -> Taken:
        """Lay the pen down; return a copy of all lanes, with what threads wrote until then."""
        with self.lock:
            counts, sums, values = self.counts, self.sums, self.values
            self.lay_down()
        return self._copied(counts, sums, values)

    def oldest(self) -> int:
        """Return when the oldest request in flight began, 0 if there is none."""
        if len(self.live) > _MOST_LIVE:
            # A server that never closes bodies; they are in flight for it, but of no known age.
            self.live.clear()
        for began in self.live:
            return began
        return 0

    def taken(self) -> Taken:
        """Return a copy of all lanes."""
        return self._copied(self.counts, self.sums, self.values)

    def _copied(
        self, counts: memoryview, sums: memoryview[float], values: memoryview[float]
    ) -> Taken:
        head = self.head
        return Taken(
            counts[: head[layout.HEAD_COUNTS]].tolist(),
            sums[: head[layout.HEAD_SUMS]].tolist(),
            values[: head[layout.HEAD_VALUES]].tolist(),
        )


class _Nowhere:
    """Takes any store to any lane and keeps none."""

    def __getitem__(self, _: int) -> int:
        """Be zero."""
        return 0

    def __setitem__(self, _: int, __: int) -> None:
        """Forget it."""
