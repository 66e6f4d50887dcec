"""How a slot is taken over, and given space before anything is stored there."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from otelmon.ledger import layout, slots
from otelmon.ledger.instrument import OVERFLOW, Series
from otelmon.ledger.keys import Keys
from otelmon.ledger.locks import RangeLocks
from otelmon.ledger.requests import ALL, DURATION
from otelmon.ledger.segment import Segment, SharedSegment
from tests.forks import Child
from tests.recorder import COUNTER, GAUGE


if TYPE_CHECKING:
    from pathlib import Path


STEP = layout.STEP_BYTES // layout.WORD


class _Spacious(Segment):
    """A segment that notes what space was taken, and may run out of it."""

    def __init__(self) -> None:
        """Have space for everything."""
        super().__init__()
        self.taken: list[range] = []
        self.full = False

    def take_space(self, at: int, length: int) -> None:
        """Note it."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.taken.append(range(at, at + length))


def _keys(segment: Segment) -> Keys:
    return Keys(segment, series_limit=1000)


def test_a_slot_has_space_for_its_head_and_every_overflow_series() -> None:
    """Whatever happens later, a request can be booked somewhere."""
    segment = _Spacious()
    keys = _keys(segment)

    pen = slots.take_over(segment, keys, 0, capacity=4)

    first = layout.slot_at(0) + layout.COUNTS_AT
    assert range(layout.slot_at(0), layout.slot_at(0) + layout.PAGE) in segment.taken
    assert range(first, first + layout.STEP_BYTES) in segment.taken
    assert pen.head[layout.HEAD_COUNTS] == STEP
    assert all(keys.find(instrument, OVERFLOW) for instrument in ALL)


def test_the_extent_told_to_readers_is_what_was_taken() -> None:
    """It grows in steps, only after the space was had, and never past the lanes there are."""
    segment = _Spacious()
    pen = slots.take_over(segment, _keys(segment), 0, capacity=0)
    first = layout.slot_at(0) + layout.COUNTS_AT

    slots.take_space(segment, 0, Series(COUNTER, (), STEP))
    assert pen.head[layout.HEAD_COUNTS] == 2 * STEP
    assert segment.taken[-1] == range(first + layout.STEP_BYTES, first + 2 * layout.STEP_BYTES)

    segment.full = True
    with pytest.raises(OSError, match="No space"):
        slots.take_space(segment, 0, Series(COUNTER, (), 2 * STEP))
    assert pen.head[layout.HEAD_COUNTS] == 2 * STEP
    slots.take_space(segment, 0, Series(COUNTER, (), 2 * STEP - 1))

    segment.full = False
    slots.take_space(segment, 0, Series(COUNTER, (), layout.COUNTS - 1))
    assert pen.head[layout.HEAD_COUNTS] == layout.COUNTS
    slots.take_space(segment, 0, Series(GAUGE, (), layout.VALUES - 1))
    assert pen.head[layout.HEAD_VALUES] == layout.VALUES


def test_two_threads_that_take_space_never_shorten_the_extent() -> None:
    """A thread that is overtaken while it takes space leaves the longer extent alone."""

    class Overtaken(_Spacious):
        overtaking: list[Series]

        def take_space(self, at: int, length: int) -> None:
            if self.overtaking:
                slots.take_space(self, 0, self.overtaking.pop())
            super().take_space(at, length)

    segment = Overtaken()
    segment.overtaking = []
    pen = slots.take_over(segment, _keys(segment), 0, capacity=0)
    segment.overtaking = [Series(COUNTER, (), 5 * STEP)]

    slots.take_space(segment, 0, Series(COUNTER, (), 2 * STEP))

    assert pen.head[layout.HEAD_COUNTS] == 6 * STEP


def test_a_slot_can_be_claimed_while_nobody_may_append_keys(tmp_path: Path) -> None:
    """A process that is stopped while it names a series keeps no other one from serving."""
    segment = SharedSegment(tmp_path / "one.ledger", header=layout.Header(1, bytes(16), 0))
    keys = _keys(segment)
    with Child(lambda: _stopped(tmp_path / "one.slots")):
        assert segment.claim(0)
        pen = slots.take_over(segment, keys, 0, capacity=0)

    assert keys.find(DURATION, OVERFLOW) is None
    assert pen.head[layout.HEAD_COUNTS] >= layout.FIRST_LANE
    pen.add([(layout.LANE_STARTED, 1)])
    assert pen.taken().counts[layout.LANE_STARTED] == 1
    segment.close()


def _stopped(path: Path) -> RangeLocks:
    locks = RangeLocks(path)
    assert locks.take(layout.SLOTS)
    return locks
