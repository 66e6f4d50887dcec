"""The key table: which series exist, and which lanes are theirs.

All processes of an instance share it. Whoever meets a new series appends it under the file lock;
everybody keeps a parsed copy and reads only what was added since. A record is one JSON array:

    ["i", name, kind, unit, description, bounds, scale, scope, merge]    the next instrument
    ["s", instrument's number, [[key, value], ...], base, sums]          a series of it
    ["r", series' number, weight]    which has rested, at this weight, and made room for another
"""

from __future__ import annotations

import _thread
import contextlib
import json
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from otelmon.errors import LedgerError
from otelmon.ledger import layout
from otelmon.ledger.instrument import (
    OVERFLOW,
    Attributes,
    Instrument,
    Known,
    Scope,
    Series,
    told_apart,
)
from otelmon.threads import original


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from otelmon.ledger.segment import Segment


# How many series one instrument, and all together, may have; overflow series come on top. The first
# is the specification's default, https://opentelemetry.io/docs/specs/otel/metrics/sdk/
# otelmon's own instruments share as many beside all others: theirs are few, and whatever an
# application does must not cost it the figures by which it is seen.
SERIES_LIMIT: Final = 2000
TOTAL_LIMIT: Final = 10_000

# Of the lanes and of the table only otelmon's own series may take this last part.
_RESERVED: Final = 1 / 8

# Bytes of a series' record: attributes that are longer are not worth what they take from others.
_LONGEST: Final = 8 * 1024

# How much may wait for the end of a change; more is not kept.
_MOST_LATER: Final = 10_000

# After the file lock could not be had, new series are not even tried for this long.
_BACK_OFF_SECONDS: Final = 1.0


Weight = tuple[float, ...]
"""What is in a series' lanes, in a few numbers that differ as soon as anything is recorded to it"""


class KeyTable:
    """A parsed copy of the key table; `end` is how many bytes of it were read so far."""

    def __init__(self) -> None:
        """Begin empty."""
        self.end = 0
        self.instruments: list[Instrument] = []
        self.series: list[Series] = []
        self.known = Known()
        """The same as it was when it was asked for last"""
        self.apart: list[Series] = []
        """Those whose figures are not added up over all processes"""
        self.resting: dict[int, Weight] = {}
        """At which weight a series was put to rest, by its number"""
        self._sizes_of_all: Counter[bool] = Counter()
        self._numbers: dict[Instrument, int] = {}
        self._found: dict[object, Series] = {}
        self._sizes: Counter[Instrument] = Counter()

    def find(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Return the series if it is known here."""
        return self._found.get((instrument, *told_apart(attributes)))

    def size(self, instrument: Instrument) -> int:
        """Return how many series *instrument* has, the overflow series not counted."""
        return self._sizes[instrument]

    def size_of_all(self, *, own: bool) -> int:
        """Return how many series all instruments have, otelmon's own or all others."""
        return self._sizes_of_all[own]

    def read(self, records: Iterable[bytes]) -> None:
        """Take in records in the order in which they stand in the file."""
        for record in records:
            tag, *fields = json.loads(record)
            if tag == "i":
                instrument = _instrument(fields)
                self._numbers[instrument] = len(self.instruments)
                self.instruments.append(instrument)
            elif tag == "s":
                self._add(fields)
            elif tag == "r":
                self._rest(*fields)

    def _add(self, fields: list[Any]) -> None:
        number, pairs, base, sums = fields
        instrument = self.instruments[number]
        series = Series(instrument, _attributes(pairs), base, sums, len(self.series))
        self.series.append(series)
        if instrument.merge != "add":
            self.apart.append(series)
        self._found[(instrument, *told_apart(series.attributes))] = series
        if series.attributes != OVERFLOW:
            self._sizes[instrument] += 1
            self._sizes_of_all[instrument.own] += 1

    def _rest(self, number: int, weight: list[float]) -> None:
        if number not in self.resting:
            instrument = self.series[number].instrument
            self._sizes[instrument] -= 1
            self._sizes_of_all[instrument.own] -= 1
        self.resting[number] = tuple(weight)

    def announce(self, instrument: Instrument) -> bytes | None:
        """Return the record that makes *instrument* known, None if it is known already."""
        if instrument in self._numbers:
            return None
        fields = (
            instrument.name,
            instrument.kind,
            instrument.unit,
            instrument.description,
            instrument.bounds,
            instrument.scale,
            instrument.scope,
            instrument.merge,
        )
        return _encode("i", *fields)

    def place(
        self, instrument: Instrument, attributes: Attributes, base: int, sums: int = 0
    ) -> bytes:
        """Return the record that gives a series its lanes; its instrument must be known."""
        return _encode("s", self._numbers[instrument], attributes, base, sums)

    def rest(self, number: int, weight: Weight) -> bytes:
        """Return the record that puts a series to rest."""
        return _encode("r", number, weight)


def _encode(*fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _instrument(fields: list[Any]) -> Instrument:
    name, kind, unit, description, bounds, scale, (who, version, schema, pairs), merge = fields
    scope = Scope(who, version, schema, _attributes(pairs))
    return Instrument(name, kind, unit, description, tuple(bounds), scale, scope, merge)


def _attributes(pairs: Iterable[tuple[str, Any]]) -> Attributes:
    return tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in pairs)


class Keys:
    """The key table of one segment, as a process's threads share it.

    Re-entrant like the pen: a signal handler or GC callback that interrupts a change of the table
    finds the table as it was, and places nothing; it can leave behind what is to be done then.
    """

    def __init__(
        self, segment: Segment, *, series_limit: int = SERIES_LIMIT, total_limit: int = TOTAL_LIMIT
    ) -> None:
        """Know what the segment's key table holds so far."""
        self._segment = segment
        self._limit, self._total_limit = series_limit, total_limit
        self._table = KeyTable()
        self._lock = original(_thread, "RLock")()
        self._busy: int | None = None
        self._not_before = 0.0
        self._later: deque[Callable[[], object]] = deque(maxlen=_MOST_LATER)

    def interrupted(self) -> bool:
        """Tell whether the caller interrupts a change that its own thread is making."""
        return bool(self._busy == original(_thread, "get_ident")())

    def afterwards(self, do: Callable[[], object]) -> None:
        """Have *do* called by the change that the caller interrupts, once that is made."""
        self._later.append(do)

    def series(self) -> list[Series]:
        """Return all series that exist by now, in the order in which they were placed."""
        with self._changing() as alone:
            if alone:
                self._catch_up()
            return list(self._table.series)

    def known(self) -> Known:
        """Return what `series` does, the very same object until there are more."""
        with self._changing() as alone:
            if alone:
                self._catch_up()
            table = self._table
            if len(table.known) != len(table.series):
                table.known = Known(table.series)
            return table.known

    def apart(self) -> list[Series]:
        """Return those of `series`, as of its last call, that are not added up."""
        return self._table.apart

    def resting(self) -> dict[int, Weight]:
        """Return at which weight series were put to rest, as of the last call of `series` or later."""
        # A copy: another thread may take in records while it is looked through.
        return dict(self._table.resting)

    def crowded(self, share: float) -> list[Series]:
        """Return the series of instruments that use this share of what they may, or all together."""
        table, most = self._table, share * self._total_limit
        crowded = [own for own in (False, True) if table.size_of_all(own=own) >= most]
        return [
            series
            for series in table.series
            if (crowded and series.instrument.own in crowded)
            or table.size(series.instrument) >= share * self._limit
        ]

    def rest(self, weights: Mapping[int, Weight]) -> bool:
        """Put series to rest, by their numbers; return False if that cannot be had now.

        Raises:
            LedgerError, OSError: there is no more space.
        """
        with self._changing() as alone, self._segment.appending() as appending:
            if not (alone and appending and self._catch_up()):
                return False
            for number, weight in weights.items():
                self._segment.publish(layout.encode_record(self._table.rest(number, weight)))
            return self._catch_up()

    def find(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Return a series that is known to this process, and takes no lock."""
        return self._table.find(instrument, attributes)

    def place(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Return a series, given lanes if it has none; None past the limit or without the lock.

        Raises:
            LedgerError, OSError: there is no more space.
        """
        with self._changing() as alone:
            if alone:
                # Mostly another process or thread has met it before, and to read needs no lock.
                self._catch_up()
            found = self._table.find(instrument, attributes)
            if found is not None or not alone or self._full(instrument, attributes):
                return found
            if time.monotonic() < self._not_before:
                return None
            return self._place(instrument, attributes)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[bool]:
        """Keep other threads out; yield False to a handler that interrupts its thread's change."""
        with self._lock:
            if self._busy is not None:
                yield False
                return
            self._busy = original(_thread, "get_ident")()
            try:
                yield True
            finally:
                self._busy = None
        self._catch_up_later()

    def _catch_up_later(self) -> None:
        while self._later:
            with contextlib.suppress(IndexError):  # a handler may have taken it
                self._later.popleft()()

    def _place(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        with self._segment.appending() as alone:
            whole = self._catch_up()
            found = self._table.find(instrument, attributes)
            if not alone:
                self._not_before = time.monotonic() + _BACK_OFF_SECONDS
            # Behind a damaged record nobody would find it, and it would be appended for ever.
            elif whole and found is None and not self._full(instrument, attributes):
                self._append(instrument, attributes)
                found = self._table.find(instrument, attributes)
            return found

    def _append(self, instrument: Instrument, attributes: Attributes) -> None:
        header = self._segment.header
        wanted = [
            (word, max(header[word], layout.FIRST_LANE), width, lanes)
            for word, width, lanes in (
                (layout.HEADER_NEXT_COUNT, instrument.counts, layout.COUNTS),
                (layout.HEADER_NEXT_VALUE, instrument.values, layout.VALUES),
                (layout.HEADER_NEXT_SUM, instrument.sums, layout.SUMS),
            )
            if width
        ]
        free = 1 if instrument.own or attributes == OVERFLOW else 1 - _RESERVED
        for _, start, width, lanes in wanted:
            if start + width > free * lanes:
                raise LedgerError(f"All {free * lanes:.0f} lanes of the ledger are taken.")
        starts = {word: start for word, start, _, _ in wanted}
        sums = starts.pop(layout.HEADER_NEXT_SUM, 0)
        base = next(iter(starts.values()), 0)
        announced = self._table.announce(instrument)
        if announced is not None:
            self._segment.publish(layout.encode_record(announced))
            self._catch_up()
        frame = layout.encode_record(self._table.place(instrument, attributes, base, sums))
        if len(frame) > _LONGEST:
            # A few of these would leave no room for anybody else's.
            raise LedgerError(f"The attributes of a series of {instrument.name} are too long.")
        self._segment.make_room(frame, share=free)
        # First the lanes are gone, then they are named: a kill in between only wastes them.
        for word, start, width, _ in wanted:
            header[word] = start + width
        self._segment.publish(frame)
        self._catch_up()

    def _catch_up(self) -> bool:
        """Read what was added; return whether the table could be read to its end."""
        end = self._segment.header[layout.HEADER_KEYS_END]
        if end > self._table.end:
            records, length = layout.decode_records(self._segment.keys(self._table.end))
            try:
                self._table.read(records)
            except BaseException:
                # A signal handler of the application's may raise anywhere: read again from the
                # start, or the numbers of the instruments would be wrong from here on.
                self._table = KeyTable()
                raise
            self._table.end += length
        return self._table.end >= end

    def _full(self, instrument: Instrument, attributes: Attributes) -> bool:
        if any(value != value for _, value in attributes):  # noqa: PLR0124 - so is NaN told
            # It equals nothing: its series would not be found again, and be placed for ever.
            return True
        if attributes == OVERFLOW:
            return False
        table = self._table
        return (
            table.size(instrument) >= self._limit
            or table.size_of_all(own=instrument.own) >= self._total_limit
        )
