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
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from otelmon.errors import LedgerError
from otelmon.ledger import layout
from otelmon.ledger.instrument import OVERFLOW, Known
from otelmon.ledger.key_table import KeyTable
from otelmon.threads import original


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otelmon.ledger.instrument import Attributes, Instrument, Series
    from otelmon.ledger.key_table import Weight
    from otelmon.ledger.segment import Segment


# How many series one instrument, and all together, may have; overflow series come on top. The first
# is the specification's default, https://opentelemetry.io/docs/specs/otel/metrics/sdk/
# otelmon's own instruments share as many beside all others: theirs are few, and whatever an
# application does must not cost it the figures by which it is seen.
SERIES_LIMIT: Final = 2000
TOTAL_LIMIT: Final = 10_000

# Of the lanes and of the table only otelmon's own series may take this last part.
_RESERVED: Final = 1 / 8

# Of the table, what may be used by the time a series is put to rest: one that comes back and rests
# again, for ever, is to leave room for new ones.
_FOR_REST: Final = 3 / 4

# Bytes of a series' record: attributes that are longer are not worth what they take from others.
_LONGEST: Final = 8 * 1024

# How much may wait for the end of a change; more is not kept.
_MOST_LATER: Final = 10_000

# How long other threads wait for one that changes the table: it waits for the file lock, and not as long.
_LOCK_SECONDS: Final = 5.0

# After a lock could not be had, nobody even tries or waits for it for this long.
_BACK_OFF_SECONDS: Final = 1.0


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
        self._not_before = self._wait_from = 0.0
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
            LedgerError, OSError: there is no more space that resting may use; the others rest.
        """
        with self._changing() as alone, self._segment.appending() as appending:
            if not (alone and appending and self._catch_up()):
                return False
            for number, weight in weights.items():
                frame = layout.encode_record(self._table.rest(number, weight))
                self._segment.make_room(frame, share=_FOR_REST)
                self._segment.publish(frame)
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

    def _changing(self) -> _Change:
        """Keep other threads out; False to a handler that interrupts its thread's change."""
        return _Change(self)

    def begin(self) -> bool:
        """Begin a change; return False if that cannot be now."""
        if self.interrupted():
            return False
        try:
            patience = _LOCK_SECONDS if time.monotonic() >= self._wait_from else 0.0
            if not self._lock.acquire(True, patience):
                self._wait_from = time.monotonic() + _BACK_OFF_SECONDS
                return False
            self._busy = original(_thread, "get_ident")()
        except BaseException:
            # A signal handler of the application's may raise in any of these calls.
            if self._lock._is_owned():  # noqa: SLF001 - as threading.Condition asks it
                self._busy = None
                self._lock.release()
            raise
        return True

    def end(self) -> None:
        """End a change, and do what was left to be done then."""
        self._busy = None
        self._lock.release()
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


class _Change:
    """A change of the keys, for the length of a `with`.

    No generator: it would stay open, and all others out, while an error that a signal handler raised
    between its beginning and the block is kept anywhere.
    """

    def __init__(self, keys: Keys) -> None:
        """Begin nothing yet."""
        self._keys = keys
        self._alone = False

    def __enter__(self) -> bool:
        """Begin; False if nothing can be changed now."""
        self._alone = self._keys.begin()
        return self._alone

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self._alone:
            self._keys.end()
