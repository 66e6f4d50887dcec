"""The board and the past as this process saw them last: parsed once for each publication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon import board
from otelmon.metrics.past import Past


if TYPE_CHECKING:
    from otelmon.board import Published
    from otelmon.ledger.segment import Segment


class Seen:
    """Threads may ask it together: at the worst two of them parse the same."""

    def __init__(self) -> None:
        """Have seen nothing."""
        self._published: tuple[Segment, int, Published] | None = None
        self._past: tuple[Segment, Past] | None = None

    def published(self, segment: Segment) -> Published | None:
        """Return the newest state of the board; None before the first."""
        seen, number = self._published, board.newest(segment)
        if seen is not None and seen[0] is segment and seen[1] == number:
            return seen[2]
        found = board.read(segment)
        # If the number has moved on meanwhile, the next one to ask parses again.
        if found is not None:
            self._published = (segment, number, found)
        return found

    def past(self, segment: Segment) -> Past | None:
        """Return what was remembered up to the newest state of the board."""
        seen, number = self._past, board.newest(segment)
        if seen is not None and seen[0] is segment and seen[1].number == number:
            return seen[1]
        if not number:
            return None
        past = Past(segment, number)
        self._past = (segment, past)
        return past
