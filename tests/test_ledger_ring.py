"""Rings of records: whole or not there, whoever is killed while writing them."""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.errors import LedgerError
from otelmon.ledger import layout, ring
from otelmon.ledger.ring import Record
from otelmon.ledger.segment import Segment, SharedSegment
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.ledger.layout import Ring


RING: Final = layout.HISTORY
_ROOM: Final = ring.room(RING)


def record(number: int, payload: bytes | None = None) -> Record:
    """Return a record whose parts tell its number."""
    return Record(number, number * 1000, bytes([number % 251]) * 40 if payload is None else payload)


def write(segment: Segment, *numbers: int, places: int = 8, where: Ring = RING) -> None:
    """Write these records."""
    for number in numbers:
        ring.write(segment, where, record(number), places=places)


def numbers(segment: Segment, where: Ring = RING, upto: int | None = None) -> list[int]:
    """Return the numbers of what is remembered, whose other parts must be theirs."""
    found = ring.read(segment, where, upto=upto)
    assert found == [record(each.number) for each in found]
    return [each.number for each in found]


def test_before_the_first_there_is_nothing() -> None:
    """A new ledger remembers nothing."""
    assert [ring.read(Segment(), each) for each in layout.RINGS] == [[]] * len(layout.RINGS)
    assert ring.stamps(Segment(), RING) == []


@given(st.lists(st.binary(max_size=_ROOM), max_size=30), st.integers(1, 12))
def test_the_last_ones_are_read_back(payloads: list[bytes], places: int) -> None:
    """However long the records are, the newest are there, as they were and in their order."""
    segment = Segment()
    given = [record(number, payload) for number, payload in enumerate(payloads, 1)]
    for each in given:
        ring.write(segment, RING, each, places=places)

    assert ring.read(segment, RING) == given[-places:]


def test_what_is_beyond_the_number_asked_for_is_not_there() -> None:
    """A record that was written ahead of its publication is not seen."""
    segment = Segment()
    write(segment, *range(1, 6))

    assert numbers(segment, upto=3) == [1, 2, 3]


def test_rings_do_not_touch_each_other() -> None:
    """Each ring, filled beyond its last place, leaves its neighbours and the slots as they are."""
    segment = Segment()
    for where in layout.RINGS:
        for number in range(1, where.places + 2):
            payload = bytes([number % 251]) * ring.room(where)
            ring.write(segment, where, record(number, payload), places=where.places)
    for where in layout.RINGS:
        found = ring.read(segment, where)
        assert [each.number for each in found] == list(range(2, where.places + 2))
        assert {len(each.payload) for each in found} == {ring.room(where)}
    assert not any(segment.slot(0).head)


def test_more_or_fewer_places_forget_no_newer_one() -> None:
    """A keeper with another interval goes on; nothing is there twice, and the newest is."""
    segment = Segment()
    write(segment, *range(1, 11), places=10)
    write(segment, 10, 11, places=3)
    found = numbers(segment)

    assert found == sorted(set(found))
    assert found[-2:] == [10, 11]


def test_one_that_is_too_long_is_refused() -> None:
    """It raises LedgerError with both sizes, and the ring stays as it was."""
    segment = Segment()
    write(segment, 1)
    with pytest.raises(LedgerError, match=f"{_ROOM + 1} bytes does not fit into {_ROOM}"):
        ring.write(segment, RING, record(2, bytes(_ROOM + 1)), places=8)

    assert numbers(segment) == [1]


def test_a_write_that_ends_at_any_byte_spoils_one_record_at_the_most() -> None:
    """Whichever bytes of a new record are there, all others are read, and it whole or not."""
    segment = Segment()
    write(segment, *range(1, 5), places=4)
    old = bytes(segment.past[: 4 * RING.place_bytes])
    write(segment, 5, places=4)
    new = bytes(segment.past[: RING.place_bytes])
    for end in range(24 + 40 + 1):
        segment.past[: len(old)] = old
        segment.past[:end] = new[:end]
        found = numbers(segment)

        assert found in ([2, 3, 4], [1, 2, 3, 4], [2, 3, 4, 5])
        write(segment, 5, places=4)
        assert numbers(segment) == [2, 3, 4, 5]


@given(st.data())
def test_foreign_bytes_are_no_records(data: st.DataObject) -> None:
    """Whatever stands in a place, reading raises nothing, and nothing is made up."""
    segment = Segment()
    write(segment, *range(1, 5), places=4)
    at = data.draw(st.integers(0, 4 * RING.place_bytes - 1))
    foreign = data.draw(st.binary(max_size=64))
    segment.past[at : at + len(foreign)] = foreign

    assert set(numbers(segment)) <= {1, 2, 3, 4}


def test_readers_see_whole_records_while_writers_are_killed(tmp_path: Path) -> None:
    """Beside writers that are killed -9 there are only whole records, each once, the newest too."""
    header = layout.Header(time.time_ns(), bytes(16), 0)
    segment = SharedSegment(tmp_path / "one.ledger", header=header)
    newest = 0
    for _ in range(4):
        writer = _write_for_ever(tmp_path, header, start=newest + 1)
        try:
            reached = newest + 50
            assert until(lambda: (numbers(segment) or [0])[-1] >= reached, every=0.0)  # noqa: B023
        finally:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
        found = numbers(segment)
        # What the kill has spoilt was to be overwritten, or is written again.
        assert len(found) >= 19
        assert found == list(range(found[0], found[-1] + 1))
        newest = found[-1]
    segment.close()


def _write_for_ever(directory: Path, header: layout.Header, *, start: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            segment = SharedSegment(directory / "one.ledger", header=header)
            for number in itertools.count(start):
                write(segment, number, places=20)
        finally:
            os._exit(1)
    return pid
