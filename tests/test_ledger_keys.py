"""The key table: which series exist, as all processes come to know it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.errors import LedgerError
from otelmon.ledger import layout
from otelmon.ledger.instrument import (
    OVERFLOW,
    Attribute,
    Attributes,
    Instrument,
    Scope,
    by_instrument,
)
from otelmon.ledger.key_table import KeyTable
from otelmon.ledger.keys import Keys
from otelmon.ledger.locks import RangeLocks
from otelmon.ledger.segment import Segment, SharedSegment
from tests.forks import Child


if TYPE_CHECKING:
    from pathlib import Path


HITS = Instrument("hits", "counter", "1", "Hits.")
TIMES = Instrument("times", "histogram", "s", "Times.", (0.1, 1.0), 1e-9)
HEAT = Instrument("heat", "gauge", "Cel", "Heat.")

_TEXT = st.text(st.characters(), max_size=20)  # surrogates too: headers are decoded with them
_PLAIN = _TEXT | st.booleans() | st.integers() | st.floats(allow_nan=False)
_ATTRIBUTES = st.dictionaries(
    _TEXT, _PLAIN | st.lists(_PLAIN, max_size=3).map(tuple), max_size=4
).map(lambda found: tuple(sorted(found.items())))
_INSTRUMENTS = st.builds(
    Instrument,
    name=_TEXT,
    kind=st.sampled_from(["counter", "up_down_counter", "histogram", "gauge"]),
    unit=_TEXT,
    description=_TEXT,
    bounds=st.lists(st.floats(allow_nan=False), max_size=4).map(tuple),
    scale=st.sampled_from([1.0, 1e-9, None]),
    scope=st.builds(Scope, _TEXT, _TEXT, _TEXT, _ATTRIBUTES),
    merge=st.sampled_from([None, "sum", "worker", "recent", "min", "max"]),
)


def _keys(segment: Segment, *, series_limit: int = 1000) -> Keys:
    return Keys(segment, series_limit=series_limit)


def _route(route: str) -> Attributes:
    return (("route", route),)


def _lanes(segment: Segment) -> tuple[int, int]:
    header = segment.header
    return header[layout.HEADER_NEXT_COUNT], header[layout.HEADER_NEXT_VALUE]


@given(st.lists(st.tuples(_INSTRUMENTS, _ATTRIBUTES), max_size=8))
def test_what_is_known_is_found_by_its_instrument(
    wanted: list[tuple[Instrument, Attributes]],
) -> None:
    """All series are there, in their order, in the very same object until another one is placed."""
    segment = Segment()
    ours, theirs = _keys(segment), _keys(segment)
    for series in wanted:
        ours.place(*series)
        before = theirs.known()

        assert list(before) == theirs.series()
        assert theirs.known() is before
        assert before.by_instrument == {
            each.instrument: [one for one in before if one.instrument == each.instrument]
            for each in before
        }
        assert by_instrument(list(before)) == before.by_instrument


@given(st.lists(st.tuples(_INSTRUMENTS, _ATTRIBUTES), max_size=8))
def test_what_one_process_places_another_finds(
    wanted: list[tuple[Instrument, Attributes]],
) -> None:
    """Every instrument and attribute set comes back equal, with the same lanes."""
    segment = Segment()
    ours, theirs = _keys(segment), _keys(segment)

    placed = [ours.place(*series) for series in wanted]

    assert theirs.series() == ours.series()
    assert [theirs.find(*series) for series in wanted] == placed
    assert [(s.instrument, s.attributes) for s in placed if s] == wanted


@given(st.lists(st.tuples(_INSTRUMENTS, _ATTRIBUTES), max_size=12))
def test_no_two_series_share_a_lane(wanted: list[tuple[Instrument, Attributes]]) -> None:
    """Lanes are given once, to one series, whoever places it, and never below the fixed ones."""
    segment = Segment()
    processes = _keys(segment), _keys(segment)
    for number, series in enumerate(wanted):
        processes[number % 2].place(*series)

    counts = [
        lane
        for series in processes[0].series()
        for lane in range(series.base, series.base + series.instrument.counts)
    ]
    values = [s.base for s in processes[0].series() if s.instrument.values]
    sums = [
        lane
        for series in processes[0].series()
        for lane in range(series.sums, series.sums + series.instrument.sums)
    ]

    assert len(set(counts)) == len(counts)
    assert len(set(values)) == len(values)
    assert len(set(sums)) == len(sums)
    assert min(counts, default=layout.FIRST_LANE) >= layout.FIRST_LANE


@pytest.mark.parametrize(
    "alike", [(1, 1.0, True), (0, False, 0.0), ((1, 2), (1.0, 2.0), (True, 2)), ((), "")]
)
def test_attributes_that_are_equal_and_not_the_same_are_kept_apart(
    alike: tuple[Attribute, ...],
) -> None:
    """1, 1.0 and True make three series, here and in a process that only reads of them."""
    segment = Segment()
    ours, theirs = _keys(segment), _keys(segment)
    placed = [ours.place(HITS, (("key", value),)) for value in alike]

    theirs.series()
    found = [theirs.find(HITS, (("key", value),)) for value in alike]
    assert [series and repr(series.attributes[0][1]) for series in found] == [*map(repr, alike)]
    assert len({series and series.base for series in placed}) == len(alike)


def test_all_instruments_share_a_limit() -> None:
    """Past the limit of all series only overflow series are placed, whatever the instrument."""
    keys = Keys(Segment(), series_limit=10, total_limit=3)

    assert [keys.place(HITS, _route(str(n))) is None for n in range(3)] == [False] * 3
    assert keys.place(TIMES, _route("/")) is None
    assert keys.place(TIMES, OVERFLOW) is not None


def test_no_application_takes_the_room_of_otelmon_s_own() -> None:
    """Past the limit of all others, and past their share of the lanes, ours have places, up to it."""
    shop = Scope("shop")
    theirs, wide = (
        replace(HITS, scope=shop),
        replace(HITS, name="wide", scope=shop, kind="histogram"),
    )
    keys = Keys(Segment(), total_limit=3)
    assert [keys.place(theirs, _route(str(n))) is None for n in range(4)] == [False] * 3 + [True]
    assert [keys.place(HITS, _route(str(n))) is None for n in range(4)] == [False] * 3 + [True]

    keys = Keys(Segment())
    wide = replace(wide, bounds=tuple(map(float, range(10_000))))
    with pytest.raises(LedgerError, match="lanes"):
        _place_many(keys, wide, 40)
    assert keys.place(replace(wide, scope=Scope("otelmon.instruments")), ()) is not None

    keys = Keys(Segment())
    with pytest.raises(LedgerError, match="key table"):
        _place_many(keys, theirs, 1000, "x" * 7000)
    assert all(keys.place(HITS, _route(str(n))) for n in range(1000))


def _place_many(keys: Keys, instrument: Instrument, count: int, more: str = "") -> None:
    for number in range(count):
        keys.place(instrument, _route(f"{number} {more}"))


def test_a_series_is_placed_once() -> None:
    """Asked again, here or in another process, a series keeps its lanes and takes no space."""
    segment = Segment()
    first = _keys(segment).place(TIMES, _route("/"))
    end = segment.header[layout.HEADER_KEYS_END]

    assert _keys(segment).place(TIMES, _route("/")) == first
    assert segment.header[layout.HEADER_KEYS_END] == end


def test_what_is_not_placed_is_not_found() -> None:
    """To look for a series places nothing."""
    keys = _keys(Segment())

    assert keys.find(HITS, ()) is None
    assert keys.series() == []


def test_other_bounds_are_another_instrument() -> None:
    """A histogram whose bounds were changed shares no lane with the one it was."""
    keys = _keys(Segment())
    changed = Instrument("times", "histogram", "s", "Times.", (0.2, 2.0), 1e-9)

    first, second = keys.place(TIMES, ()), keys.place(changed, ())

    assert first is not None
    assert second is not None
    assert first.base != second.base


def test_past_its_limit_an_instrument_has_its_overflow_series_only() -> None:
    """The limit is each instrument's own, and the overflow series is not counted."""
    keys = _keys(Segment(), series_limit=2)
    for number in range(2):
        assert keys.place(HITS, _route(f"/{number}")) is not None

    assert keys.place(HITS, _route("/2")) is None
    assert keys.place(HITS, OVERFLOW) is not None
    assert keys.place(HITS, _route("/1")) == keys.find(HITS, _route("/1"))
    assert keys.place(TIMES, _route("/")) is not None


def test_a_value_that_equals_nothing_has_no_series_of_its_own() -> None:
    """NaN among the attributes is never found again, so nothing is placed for it, ever again."""
    segment = Segment()
    keys = _keys(segment)

    for _ in range(3):
        assert keys.place(HITS, (("ratio", float("nan")),)) is None

    assert segment.header[layout.HEADER_KEYS_END] == 0
    assert keys.place(HITS, (("ratio", float("inf")),)) is not None


def test_the_limit_holds_over_all_processes() -> None:
    """Series that another process placed count, although this one has not seen them yet."""
    segment = Segment()
    ours, theirs = _keys(segment, series_limit=2), _keys(segment, series_limit=2)
    ours.place(HITS, _route("/0"))
    ours.place(HITS, _route("/1"))

    assert theirs.place(HITS, _route("/2")) is None
    assert len(ours.series()) == 2


class _Limited(Segment):
    """A segment on a disk that can be full."""

    full = False

    def take_space(self, at: int, length: int) -> None:
        """Refuse when full."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_without_space_for_its_name_a_series_takes_no_lanes() -> None:
    """However often it is tried on a full disk, the lanes are there when there is space again."""
    segment = _Limited()
    keys = _keys(segment)
    first = keys.place(HITS, _route("/0"))

    segment.full = True
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            keys.place(HITS, _route("/1"))
    segment.full = False
    second = keys.place(HITS, _route("/1"))

    assert first is not None
    assert second is not None
    assert second.base == first.base + 1


def _fill(keys: Keys) -> None:
    for number in range(layout.KEYS_BYTES // 7900 + 1):
        keys.place(HITS, _route(f"{number:07900}"))


def test_when_the_key_table_is_used_up_a_series_takes_no_lanes() -> None:
    """A series whose name does not fit any more is refused, and what fits is placed on."""
    segment = Segment()
    keys = _keys(segment)
    with pytest.raises(LedgerError, match="bytes are used up"):
        _fill(keys)
    before = _lanes(segment)

    for _ in range(3):
        with pytest.raises(LedgerError, match="bytes are used up"):
            keys.place(HITS, _route("x" * 7900))

    assert _lanes(segment) == before
    assert keys.place(HITS, _route("/")) is not None


@pytest.mark.parametrize(
    ("instrument", "word", "lanes"),
    [
        pytest.param(HITS, layout.HEADER_NEXT_COUNT, layout.COUNTS, id="counts"),
        pytest.param(HEAT, layout.HEADER_NEXT_VALUE, layout.VALUES, id="values"),
    ],
)
def test_when_all_lanes_are_taken_a_series_is_refused(
    instrument: Instrument, word: int, lanes: int
) -> None:
    """The last lane is given, and none behind it."""
    segment = Segment()
    keys = _keys(segment)
    segment.header[word] = lanes - 1

    last = keys.place(instrument, _route("/last"))

    assert last is not None
    assert last.base == lanes - 1
    with pytest.raises(LedgerError, match=f"All {lanes} lanes"):
        keys.place(instrument, _route("/one-more"))


def test_lanes_of_a_process_that_was_killed_while_it_placed_stay_unused() -> None:
    """Killed after it took lanes and before it named them, a process costs only these lanes."""
    segment = Segment()
    segment.header[layout.HEADER_NEXT_COUNT] = layout.FIRST_LANE + 17
    placed = _keys(segment).place(HITS, ())

    assert placed is not None
    assert placed.base == layout.FIRST_LANE + 17


def test_a_record_of_another_kind_is_passed_over() -> None:
    """What a later version may put into the table does not keep this one from reading on."""
    segment = Segment()
    segment.publish(layout.encode_record(b'["note","of","a","later","version"]'))

    placed = _keys(segment).place(HITS, _route("/"))

    assert placed is not None
    assert _keys(segment).series() == [placed]


def test_behind_a_damaged_record_nothing_is_placed_until_it_is_mended() -> None:
    """Readers know what stands before the damage; the table does not grow behind it."""
    segment = Segment()
    ours, theirs = _keys(segment), _keys(segment)
    ours.place(HITS, _route("/0"))
    at = layout.KEYS_AT + segment.header[layout.HEADER_KEYS_END]
    ours.place(HITS, _route("/1"))
    end = segment.header[layout.HEADER_KEYS_END]
    before = _lanes(segment)
    segment._common[at + 12] ^= 1

    for _ in range(3):
        assert theirs.place(HITS, _route("/2")) is None
    assert [series.attributes for series in theirs.series()] == [_route("/0")]
    assert (segment.header[layout.HEADER_KEYS_END], _lanes(segment)) == (end, before)

    segment._common[at + 12] ^= 1
    assert theirs.place(HITS, _route("/2")) is not None
    assert [series.attributes for series in ours.series()] == [_route(f"/{n}") for n in range(3)]


class _Interrupted(Segment):
    """A segment whose reader is interrupted, as by a signal handler that records a new series."""

    def __init__(self) -> None:
        """Interrupt nobody yet."""
        super().__init__()
        self.keys_of_handler: Keys | None = None
        self.placed: list[object] = []

    def keys(self, start: int) -> bytes:
        """Return the bytes, after the handler has run."""
        found = super().keys(start)
        keys, self.keys_of_handler = self.keys_of_handler, None
        if keys is not None:
            self.placed.append(keys.place(HITS, _route("/handler")))
            assert keys.series() is not None
        return found


@pytest.mark.parametrize("interrupted", ["series", "place"])
def test_a_handler_that_interrupts_a_change_of_the_table_places_nothing(interrupted: str) -> None:
    """The interrupted copy stays right: every series once, under its own instrument."""
    segment = _Interrupted()
    ours, theirs = _keys(segment), _keys(segment)
    for instrument in (TIMES, HITS):
        theirs.place(instrument, _route("/"))

    segment.keys_of_handler = ours
    if interrupted == "series":
        ours.series()
    else:
        ours.place(HITS, _route("/new"))

    assert segment.placed == [None]
    assert ours.series() == theirs.series()
    assert ours.place(HITS, _route("/later")) == theirs.place(HITS, _route("/later"))


def test_a_table_that_was_half_read_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that a signal handler raises into the reading leaves no series misnamed."""
    segment = Segment()
    ours, theirs = _keys(segment), _keys(segment)
    for instrument in (TIMES, HITS):
        theirs.place(instrument, _route("/"))

    def interrupted(table: KeyTable, fields: list[object]) -> None:
        raise TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr(KeyTable, "_add", interrupted)
        with pytest.raises(TimeoutError):
            ours.series()

    assert ours.series() == theirs.series()
    assert ours.place(HITS, _route("/later")) == theirs.place(HITS, _route("/later"))


def test_while_another_process_appends_for_long_a_series_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock a new series is not placed, nor tried again for a while."""
    monkeypatch.setattr("otelmon.ledger.keys._BACK_OFF_SECONDS", 600.0)
    segment = SharedSegment(tmp_path / "one.ledger", header=layout.Header(1, bytes(16), 0))
    keys = _keys(segment)
    known = keys.place(HITS, _route("/known"))
    locks = tmp_path / "one.slots"
    with Child(lambda: _holding(locks)):
        assert keys.place(HITS, _route("/new")) is None
    assert keys.place(HITS, _route("/new")) is None, "it was tried a moment ago"
    assert keys.find(HITS, _route("/known")) == known

    keys._not_before = 0.0
    assert keys.place(HITS, _route("/new")) is not None
    segment.close()


def test_a_series_that_another_process_placed_needs_no_lock(tmp_path: Path) -> None:
    """It is found while a third process holds the lock, and in the while after that."""
    segment = SharedSegment(tmp_path / "one.ledger", header=layout.Header(1, bytes(16), 0))
    ours, theirs = _keys(segment), _keys(segment)
    placed = theirs.place(HITS, _route("/known"))
    with Child(lambda: _holding(tmp_path / "one.slots")):
        assert ours.place(HITS, _route("/known")) == placed
        assert ours.place(HITS, _route("/new")) is None
    later = theirs.place(HITS, _route("/later"))

    assert later is not None
    assert ours.place(HITS, _route("/later")) == later
    segment.close()


def _holding(path: Path) -> RangeLocks:
    locks = RangeLocks(path)
    assert locks.take(layout.SLOTS)
    return locks
