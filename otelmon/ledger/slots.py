"""The life of a slot: taken over from a dead owner, given space as its owner needs it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.ledger import layout, reader
from otelmon.ledger.instrument import OVERFLOW
from otelmon.ledger.pen import Pen
from otelmon.ledger.requests import ALL, DURATION


if TYPE_CHECKING:
    from otelmon.ledger.instrument import Series
    from otelmon.ledger.keys import Keys
    from otelmon.ledger.segment import Segment


class _Lanes(NamedTuple):
    """One kind of a slot's lanes: the word that tells for how many there is space, and where."""

    word: int
    start: int
    limit: int


_COUNTS: Final = _Lanes(layout.HEAD_COUNTS, layout.COUNTS_AT, layout.COUNTS)
_SUMS: Final = _Lanes(layout.HEAD_SUMS, layout.SUMS_AT, layout.SUMS)
_VALUES: Final = _Lanes(layout.HEAD_VALUES, layout.VALUES_AT, layout.VALUES)
_STEP: Final = layout.STEP_BYTES // layout.WORD


def take_over(segment: Segment, keys: Keys, number: int, *, capacity: int) -> Pen:
    """Begin a new life of slot *number*, which the caller has claimed.

    Its counts go on where they stand: that is why no total ever falls when a process dies. What its
    last owner had in flight is lost, and its last owner's values are nobody's.
    """
    segment.take_space(layout.slot_at(number), layout.PAGE)
    view = segment.slot(number)
    _take(segment, number, _COUNTS, layout.FIRST_LANE)
    for instrument in ALL:
        series = keys.find(instrument, OVERFLOW) or keys.place(instrument, OVERFLOW)
        if series is not None:
            take_space(segment, number, series)
    known = keys.series()
    counts = view.counts[: view.head[layout.HEAD_COUNTS]]
    _settle(counts, known)
    _inherit(counts, known)
    taken = view.head[layout.HEAD_VALUES]
    view.values[:taken] = memoryview(bytes(taken * layout.WORD)).cast("d")
    view.head[layout.HEAD_STARTED] = view.counts[layout.LANE_STARTED]
    _sign(view.head, capacity)
    segment.enter(number)
    # Only now: between the last owner's death and this store there is one dead owner more than
    # `HEAD_DEATHS` said before, behind it there is one live owner more than it says.
    view.head[layout.HEAD_GENERATION] += 1
    used = layout.HEADER_SLOTS_USED
    segment.header[used] = max(segment.header[used], number + 1)
    return Pen(number, view)


def take_space(segment: Segment, number: int, series: Series) -> None:
    """Make sure that a slot's owner can store to *series*, and tell readers how far to read.

    Raises:
        OSError: there is no more space.
    """
    instrument = series.instrument
    if instrument.counts:
        _take(segment, number, _COUNTS, series.base + instrument.counts)
    if instrument.values:
        _take(segment, number, _VALUES, series.base + instrument.values)
    if instrument.sums:
        _take(segment, number, _SUMS, series.sums + instrument.sums)


def _take(segment: Segment, number: int, lanes: _Lanes, needed: int) -> None:
    head = segment.slot(number).head
    taken = head[lanes.word]
    if taken < needed:
        upto = min(-(-needed // _STEP) * _STEP, lanes.limit)
        at = layout.slot_at(number) + lanes.start
        segment.take_space(at + taken * layout.WORD, (upto - taken) * layout.WORD)
        # Another thread or a handler may have taken more meanwhile, and may do so in any call.
        if head[lanes.word] < upto:  # noqa: PLR1730 - `max` is a call
            head[lanes.word] = upto


def _settle(counts: memoryview, known: list[Series]) -> None:
    """Count what the slot's last owner had in flight as lost, by one store.

    One that was killed while it moved here may have finished more than it had started so far.
    """
    lanes = counts.tolist()
    done = reader.finished(lanes, (s for s in known if s.instrument == DURATION))
    lost = max(lanes[layout.LANE_LOST], lanes[layout.LANE_STARTED] - done)
    counts[layout.LANE_LOST] = lost
    counts[layout.LANE_STARTED] = max(lanes[layout.LANE_STARTED], done + lost)


def _inherit(counts: memoryview, known: list[Series]) -> None:
    """Tell what is counted by slot, and stands there already, from what the new owner will add."""
    for series in known:
        if series.instrument.merge == "slot" and series.base + 2 <= len(counts):
            counts[series.base + 1] = counts[series.base]


def _sign(head: memoryview, capacity: int) -> None:
    head[layout.HEAD_OLDEST] = head[layout.HEAD_DRAINING] = 0
    head[layout.HEAD_PID] = os.getpid()
    head[layout.HEAD_CLAIMED] = time.time_ns()
    head[layout.HEAD_BEAT] = time.monotonic_ns()
    head[layout.HEAD_CAPACITY] = capacity
    head[layout.HEAD_DEATHS] = head[layout.HEAD_GENERATION]
