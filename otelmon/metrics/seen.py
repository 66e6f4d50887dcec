"""The board and the past as this process saw them last: parsed once for each publication."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

from otelmon import board
from otelmon.metrics.past import Memo, Past


if TYPE_CHECKING:
    from otelmon.board import Published
    from otelmon.ledger.segment import Segment


class _Publication(NamedTuple):
    # Weakly: a memory that is given up is to go, with the file's descriptors that its maps hold.
    segment: weakref.ref[Segment]
    number: int
    published: Published | None
    memo: Memo

    def is_newest(self, segment: Segment) -> bool:
        """Tell whether it is still what the board of *segment* says."""
        return self.segment() is segment and self.number == board.newest(segment)


class Seen:
    """Threads may ask it together: at the worst two of them parse the same."""

    def __init__(self) -> None:
        """Have seen nothing."""
        self._last: _Publication | None = None

    def published(self, segment: Segment) -> Published | None:
        """Return the newest state of the board; None before the first."""
        return self._newest(segment).published

    def publish(self, segment: Segment, published: Published) -> None:
        """Write the next state of the board, and know it without parsing it; only the keeper may.

        Raises:
            LedgerError, OSError: there is no space for it; the board stays as it was.
        """
        board.publish(segment, published)
        number = board.newest(segment)
        self._last = _Publication(weakref.ref(segment), number, published, Memo())

    def past(self, segment: Segment) -> Past | None:
        """Return what was remembered up to the newest state of the board."""
        last = self._newest(segment)
        return Past(segment, last.number, last.memo) if last.number else None

    def _newest(self, segment: Segment) -> _Publication:
        last = self._last
        if last is not None and last.is_newest(segment):
            return last
        # Before it is read: if it has moved on meanwhile, the next one to ask reads again.
        number = board.newest(segment)
        found = board.read(segment)
        last = _Publication(weakref.ref(segment), number, found, Memo())
        if found is not None:
            self._last = last
        return last
