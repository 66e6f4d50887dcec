"""Telling somebody of the alerts: what is due, in a thread of its own, until it has arrived.

What is to be told lies in the ring of transitions, and a word of the ledger's header says up to which
one somebody was told. So nothing is queued in a process, and a keeper that dies loses nothing: the
next one goes on behind that word. It is stored as soon as a message was taken, so that one is sent
twice only if the keeper dies between the two. At most 100 wait; then the oldest are dropped.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from otelmon import threads
from otelmon.alerts import transitions
from otelmon.alerts.posting import RefusedError
from otelmon.metrics.figures import iso


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otelmon.alerts.transitions import Transition
    from otelmon.board import Published
    from otelmon.ledger.segment import Segment


log = logging.getLogger("otelmon")

MOST_WAITING: Final = 100
# From an outage's first failure on the pauses double.
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
# One that goes on for longer is ended: a peer may send its answer byte by byte.
_DEADLINE_SECONDS: Final = 15.0


class Place(Protocol):
    """Somebody who is told."""

    name: str
    word: int
    """Of the header: up to which transition it was told"""
    again_seconds: float | None
    """After so long it wants to hear of what still holds; None: never"""
    skips_refused: bool
    """A message that it refuses as such is dropped, not tried again"""

    def tell(
        self, published: Published, found: list[Transition], after: int, mark: str
    ) -> Iterator[int]:
        """Tell of *found*, oldest first; yield the number up to which each message has told.

        *found* are all that are known; those with a number above *after* are news. *mark* is what
        the ledger is known by. What it raises is tried again.
        """

    def is_late(self, seconds: float) -> bool:
        """Tell whether a message is under way for longer than that."""

    def abort(self) -> None:
        """End it."""


class Courier:
    """Brings what is due to one place. `tick` is for the keeper's thread, and never waits."""

    def __init__(self, place: Place, *, first_pause: float = _FIRST_PAUSE_SECONDS) -> None:
        """Send nothing yet."""
        self._place = place
        self._first_pause = first_pause
        self._errand = threads.Errand(self._run)
        self._task: Callable[[], None] = lambda: None
        self._retry_at = 0.0
        self._told_at: float | None = None
        self._in_a_row = 0
        self._since: float | None = None
        self._known = False
        self._error: str | None = None
        self._counts = {"delivered": 0, "failures": 0, "dropped": 0}
        self._last: float | None = None
        self._waiting = 0

    @property
    def name(self) -> str:
        """Return what the place is called."""
        return self._place.name

    def tick(self, segment: Segment, published: Published) -> None:
        """Begin to tell if there is anything to, and nobody is at it yet."""
        self._go_on(published)
        if self._place.is_late(_DEADLINE_SECONDS):
            self._place.abort()
        waiting = published.transitions - segment.header[self._place.word]
        self._waiting = max(0, waiting)
        now = time.monotonic()
        if now < self._retry_at or not (waiting > 0 or self._is_again_due(now)):
            return
        # Read by the errand's thread: a new task must not take the place of one under way.
        task = self._begin(segment, published)
        if self._errand.idle:
            self._task = task
            self._errand.start()

    def _is_again_due(self, now: float) -> bool:
        again = self._place.again_seconds
        return again is not None and (self._told_at is None or now - self._told_at >= again)

    def _go_on(self, published: Published) -> None:
        """Count on from where the keeper before this one was, the first time."""
        if self._known:
            return
        self._known = True
        before = published.channels.get(self.name, {})
        for name in self._counts:
            self._counts[name] += int(before.get(name, 0))

    def _begin(self, segment: Segment, published: Published) -> Callable[[], None]:
        return lambda: self._tell(segment, published)

    def _run(self) -> None:
        try:
            self._task()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
            self._failed(error)
        else:
            self._arrived()

    def _tell(self, segment: Segment, published: Published) -> None:
        after = self._make_room(segment, published.transitions)
        found = transitions.read(segment, published.transitions)
        try:
            for number in self._place.tell(published, found, after, f"{segment.created:x}"):
                self._acknowledge(segment, number)
        except RefusedError as error:
            if error.for_good and self._place.skips_refused:
                # That one alone, or it would keep all that come after it.
                segment.header[self._place.word] += 1
                self._counts["dropped"] += 1
            raise

    def _make_room(self, segment: Segment, upto: int) -> int:
        """Drop the oldest of more than may wait; return up to which one nothing is to be told."""
        word = self._place.word
        after = segment.header[word]
        oldest = upto - MOST_WAITING
        if oldest > after:
            self._counts["dropped"] += oldest - after
            segment.header[word] = after = oldest
        return after

    def _acknowledge(self, segment: Segment, number: int) -> None:
        word = self._place.word
        segment.header[word] = max(segment.header[word], number)
        self._counts["delivered"] += 1
        self._last = time.time_ns() / 1e9

    def _arrived(self) -> None:
        self._told_at = time.monotonic()
        self._retry_at = 0.0
        if self._in_a_row:
            log.info("%s takes notifications again, after %d failures.", self.name, self._in_a_row)
        self._in_a_row, self._error, self._since = 0, None, None

    def _failed(self, error: Exception) -> None:
        self._counts["failures"] += 1
        self._in_a_row += 1
        # Never its text: that may hold an address.
        self._error = str(error) if isinstance(error, RefusedError) else type(error).__name__
        pause = min(_LONGEST_PAUSE_SECONDS, self._first_pause * 2 ** min(self._in_a_row - 1, 16))
        self._retry_at = time.monotonic() + pause
        if self._since is None:
            self._since = time.time_ns() / 1e9
            log.warning(
                "%s does not take notifications: %s. They wait, %d at the most, and are tried again "
                "with growing pauses; see /health.",
                self.name,
                self._error,
                MOST_WAITING,
            )

    def shown(self) -> Mapping[str, Any]:
        """Return how it does, for the board."""
        return {
            "state": "ok" if self._since is None else "failing",
            "waiting": self._waiting,
            **self._counts,
            "error": self._error,
            "failing_since": None if self._since is None else iso(self._since),
            "last_delivered": None if self._last is None else iso(self._last),
        }
