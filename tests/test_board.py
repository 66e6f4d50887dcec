"""The board: published by one process, read by all, whole or not at all."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon import board
from otelmon.board import AlertState, Point, Published
from otelmon.errors import LedgerError
from otelmon.ledger import layout, twin
from otelmon.ledger.segment import Segment, SharedSegment
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


_NUMBERS = st.none() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
_COUNTS = st.integers(0, 2**64 - 1)
_PUBLISHED = st.builds(
    Published,
    at=st.floats(0, 4e9),
    monotonic=_COUNTS,
    interval=st.floats(1, 60),
    keeper=st.integers(0, layout.SLOTS - 1),
    host=st.dictionaries(st.text(), _NUMBERS, max_size=20),
    points=st.lists(st.builds(Point, _COUNTS, _COUNTS, _COUNTS, _COUNTS), max_size=20).map(tuple),
    baseline=st.none() | st.lists(st.floats(0, 1e12), min_size=2, max_size=2),
    container_baseline=st.none() | st.lists(st.floats(0, 1e12), min_size=3, max_size=3),
    backlog=st.none() | st.integers(0, 2**31),
)


def _published(number: int, *, host: dict[str, float | int | None] | None = None) -> Published:
    return Published(at=float(number), monotonic=number, interval=10.0, keeper=0, host=host or {})


def _shared(directory: Path) -> SharedSegment:
    header = layout.Header(time.time_ns(), bytes(16), 0)
    return SharedSegment(directory / "one.ledger", header=header)


def test_before_the_first_publication_there_is_nothing_to_read() -> None:
    """A new ledger's board is None, not an empty one."""
    assert board.read(Segment()) is None


@given(_PUBLISHED)
def test_what_is_published_is_read_back_as_it_was(published: Published) -> None:
    """Every field comes back with its value, whatever the numbers and names are."""
    segment = Segment()
    board.publish(segment, published)
    assert board.read(segment) == published


@given(st.lists(_PUBLISHED, min_size=1, max_size=5))
def test_the_newest_publication_is_read(several: list[Published]) -> None:
    """After each of several publications the reader sees that one, short after long included."""
    segment = Segment()
    for published in several:
        board.publish(segment, published)
        assert board.read(segment) == published


def test_another_process_reads_what_one_has_published(tmp_path: Path) -> None:
    """The board lies in the shared file: a second mapping of it shows the same."""
    writer, reader = _shared(tmp_path), _shared(tmp_path)
    board.publish(writer, _published(7, host={"cpu_percent": 12.5, "load_avg": None}))
    assert board.read(reader) == _published(7, host={"cpu_percent": 12.5, "load_avg": None})
    writer.close()
    reader.close()


def test_a_keeper_killed_while_it_writes_leaves_the_board_as_it_was() -> None:
    """Whatever part of the other buffer is overwritten, the last publication is still read."""
    segment = Segment()
    board.publish(segment, _published(1))
    board.publish(segment, _published(2))
    torn = (segment.header[layout.HEADER_BOARD] + 1) % 2 * layout.BOARD_BUFFER
    for length in (1, 8, 16, 200, layout.BOARD_BUFFER):
        segment.board[torn : torn + length] = b"\xff" * length
        assert board.read(segment) == _published(2)


@pytest.mark.parametrize("length", [0, 3, 2**40])
def test_a_buffer_that_cannot_be_right_is_no_board(length: int) -> None:
    """With a foreign length or a wrong crc the reader answers None, and raises nothing."""
    segment = Segment()
    board.publish(segment, _published(1))
    at = segment.header[layout.HEADER_BOARD] % 2 * layout.BOARD_BUFFER
    segment.board[at : at + 8] = length.to_bytes(8, "little")
    segment.board[at + 16] ^= 0xFF
    assert board.read(segment) is None


def test_a_publication_that_does_not_fit_leaves_the_board_as_it_was() -> None:
    """Too large a one raises LedgerError with both sizes, and the last one stays."""
    segment = Segment()
    board.publish(segment, _published(1))
    large = _published(2, host={"x" * layout.BOARD_BUFFER: 1})
    with pytest.raises(LedgerError, match=str(layout.BOARD_BUFFER)):
        board.publish(segment, large)
    assert board.read(segment) == _published(1)


def test_the_largest_publication_that_fits_is_read_back() -> None:
    """A payload that fills its buffer to the last byte does not touch the other one."""
    segment = Segment()
    board.publish(segment, _published(1))
    spare = layout.BOARD_BUFFER - 16 - _payload_bytes(_published(2, host={"": 1}))
    full = _published(2, host={"x" * spare: 1})
    board.publish(segment, full)
    assert board.read(segment) == full
    with pytest.raises(LedgerError):
        board.publish(segment, _published(3, host={"x" * (spare + 1): 1}))
    assert board.read(segment) == full


def _payload_bytes(published: Published) -> int:
    segment = Segment()
    board.publish(segment, published)
    at = segment.header[layout.HEADER_BOARD] % 2 * layout.BOARD_BUFFER
    return int.from_bytes(segment.board[at : at + 8], "little")


def test_readers_see_whole_publications_while_one_process_writes_and_is_killed(
    tmp_path: Path,
) -> None:
    """Reading beside a writer that is killed -9 gives whole publications in their order."""
    segment = _shared(tmp_path)
    seen: list[int] = []
    for _ in range(5):
        before = len(seen)
        writer = _write_for_ever(tmp_path, start=seen[-1] + 1 if seen else 1)
        try:
            assert until(lambda: _look(segment, seen) >= before + 20, every=0.0)  # noqa: B023
        finally:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
        # Whatever the kill left half-written is in the buffer that is not the newest.
        found = board.read(segment)
        assert found is not None
        seen.append(found.monotonic)
    _write(tmp_path, [seen[-1] + 1])
    assert _look(segment, seen) == len(seen)
    assert seen == sorted(seen)
    segment.close()


def _look(segment: Segment, seen: list[int]) -> int:
    """Note the number of the board if it is a new one, and check that its parts agree."""
    found = board.read(segment)
    if found is not None and (not seen or found.monotonic != seen[-1]):
        assert found.host == {f"figure {n}": found.monotonic for n in range(50)}
        seen.append(found.monotonic)
    return len(seen)


def _write_for_ever(directory: Path, *, start: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            _write(directory, itertools.count(start))
        finally:
            os._exit(1)
    return pid


def _write(directory: Path, numbers: Iterable[int]) -> None:
    segment = _shared(directory)
    for number in numbers:
        host: dict[str, float | int | None] = {f"figure {n}": number for n in range(50)}
        board.publish(segment, _published(number, host=host))
    segment.close()


def test_the_payload_is_json_that_names_its_fields() -> None:
    """What lies in the file can be read by a person or a tool without this package."""
    segment = Segment()
    board.publish(segment, _published(1, host={"cpu_percent": 1.5}))
    at = segment.header[layout.HEADER_BOARD] % 2 * layout.BOARD_BUFFER
    length = int.from_bytes(segment.board[at : at + 8], "little")
    fields = json.loads(bytes(segment.board[at + 16 : at + 16 + length]))
    assert fields["host"] == {"cpu_percent": 1.5}
    assert fields["keeper"] == 0


def test_what_a_newer_keeper_says_beyond_is_passed_over() -> None:
    """During an upgrade every part of the board may hold fields that this version does not have."""
    segment = Segment()
    published = replace(
        _published(1), points=(Point(1, 2, 3, 4),), alerts=(AlertState("cpu_high", memory=[]),)
    )
    said = {**asdict(published), "more": 1}
    for name in ("points", "alerts"):
        said[name] = [{**each, "more": 1} for each in said[name]]
    twin.write(segment, layout.BOARD, json.dumps(said).encode())
    assert board.read(segment) == published
