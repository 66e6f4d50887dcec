"""This process's part in the ledger: its slot, its pen, and the reading of all."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.errors import LedgerError
from otelmon.ledger import layout, reader, slots
from otelmon.ledger.instrument import OVERFLOW
from otelmon.ledger.keys import Keys
from otelmon.ledger.opening import mark_private, opened
from otelmon.ledger.requests import DURATION
from otelmon.ledger.segment import Segment


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.ledger.identity import Identity
    from otelmon.ledger.instrument import Attributes, Instrument, Series
    from otelmon.ledger.pen import Pen
    from otelmon.ledger.reader import Reading


log = logging.getLogger("otelmon")

# The specification's default, https://opentelemetry.io/docs/specs/otel/metrics/sdk/
SERIES_LIMIT: Final = 2000
# How often a process without a slot tries to get one.
_JOIN_SECONDS: Final = 10.0


class Ledger:
    """The memory that the processes of an instance share, seen from one of them.

    Until `serve` or `serve_alone` there is no file and no pen. A forked child has no pen either,
    whatever its parent had: it must serve for itself.
    """

    def __init__(self, *, series_limit: int = SERIES_LIMIT) -> None:
        """Begin without memory; *series_limit* bounds the series of one instrument."""
        self.pen: Pen | None = None
        self.place: Path | None = None
        self.identity: Identity | None = None
        self._series_limit = series_limit
        self._segment: Segment | None = None
        self._keys: Keys | None = None
        self._capacity = 0
        self._join_at = 0.0

    # -- serving ---------------------------------------------------------------------------------

    def serve(self, place: Path, identity: Identity, *, capacity: int = 0) -> Pen:
        """Claim a slot in the instance's file, which is made if it is not there.

        *capacity* is how many requests this process can serve at once, 0 if unknown.

        Raises:
            LedgerError, OSError: no slot can be had there.
        """
        self.place, self.identity = place, identity
        self.pen = self._serve(place, identity, capacity)
        return self.pen

    def serve_alone(self, *, capacity: int = 0) -> Pen:
        """Count in memory of this process's own."""
        self.pen = self._claim(Segment(), capacity)
        return self.pen

    def _serve(self, place: Path, identity: Identity, capacity: int) -> Pen:
        if self._segment is not None:
            # A forked child's inherited one, or one whose file was removed: its memory can be read
            # until there is another.
            self._segment.close()
        with opened(place, identity) as segment:
            try:
                pen = self._claim(segment, capacity)
            except BaseException:
                segment.close()
                raise
            header = segment.header
            header[layout.HEADER_SERVER_PID], header[layout.HEADER_SERVER_START] = identity.server
        return pen

    def _claim(self, segment: Segment, capacity: int) -> Pen:
        number = next((n for n in range(layout.SLOTS) if segment.claim(n)), None)
        if number is None:
            raise LedgerError(f"All {layout.SLOTS} slots of the ledger belong to live processes.")
        keys = Keys(segment, series_limit=self._series_limit)
        pen = slots.take_over(segment, keys, number, capacity=capacity)
        self._segment, self._keys, self._capacity = segment, keys, capacity
        return pen

    # -- series ----------------------------------------------------------------------------------

    def series(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Return the series to record to: the one asked for, else its instrument's overflow.

        *attributes* are sorted by key. Once it has returned a series, storing to its lanes in this
        process's slot cannot fail. None if not even the overflow series can be had.
        """
        for wanted in (attributes, OVERFLOW):
            try:
                found = self._series(instrument, wanted)
            except (LedgerError, OSError) as error:
                faults.report("ledger_series", error)
                found = None
            if found is not None:
                return found
        return None

    def _series(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        segment, keys, pen = self._segment, self._keys, self.pen
        if segment is None or keys is None or pen is None:
            return None
        found = keys.find(instrument, attributes) or keys.place(instrument, attributes)
        if found is not None:
            slots.take_space(segment, pen.number, found)
        return found

    # -- life ------------------------------------------------------------------------------------

    @property
    def stem(self) -> Path | None:
        """Return what the names of the instance's files begin with; None without a shared file."""
        if self._segment is None or not self._segment.shared or self.place is None:
            return None
        assert self.identity is not None
        return self.place / f"{self.identity.name}.ledger"

    @property
    def segment(self) -> Segment | None:
        """Return the memory in use, if any."""
        return self._segment

    def read(self) -> Reading | None:
        """Merge all processes' slots; None before this process serves."""
        if self._segment is None or self._keys is None:
            return None
        own = self.pen.number if self.pen is not None else None
        return reader.read(self._segment, self._keys, own=own)

    def beat(self, *, draining: bool) -> None:
        """Show that this process lives, and follow the file if it was replaced."""
        if self._segment is not None and self.pen is not None:
            if self._segment.replaced():
                log.warning("The ledger in %s was removed; a new one takes its place.", self.place)
                self._move()
            elif not self._segment.shared and self.place is not None:
                self._join()
            self.pen.head[layout.HEAD_OLDEST] = self.pen.oldest()
            self.pen.head[layout.HEAD_DRAINING] = int(draining)
            self.pen.head[layout.HEAD_BEAT] = time.monotonic_ns()

    def _join(self) -> None:
        """Leave this process's own memory for the instance's, now that it may have a slot again."""
        assert self.place is not None
        assert self.identity is not None
        now = time.monotonic()
        if now >= self._join_at:
            self._join_at = now + _JOIN_SECONDS
            try:
                self._move()
            except (LedgerError, OSError):
                # Said when it began; `/health` goes on saying it.
                mark_private(self.place, self.identity)
        else:
            mark_private(self.place, self.identity)

    def _move(self) -> None:
        """Carry this process's counts over to the instance's file, from another memory.

        What it has in flight is counted as lost; what only dead processes had counted, in slots
        that nobody has taken over, stays in the old one.
        """
        keys, pen = self._keys, self.pen
        assert keys is not None
        assert pen is not None
        assert self.place is not None
        assert self.identity is not None
        fresh = self._serve(self.place, self.identity, self._capacity)
        self.pen = fresh
        counts = pen.taken()
        pen.lay_down()
        known = keys.series()
        done = reader.finished(counts, (s for s in known if s.instrument == DURATION))
        started = counts[layout.LANE_STARTED]
        adds = [(layout.LANE_STARTED, started), (layout.LANE_LOST, max(0, started - done))]
        for series in known:
            width = series.instrument.counts
            amounts = counts[series.base : series.base + width]
            moved = self.series(series.instrument, series.attributes) if any(amounts) else None
            if moved is not None:
                adds += [(moved.base + n, amount) for n, amount in enumerate(amounts)]
        fresh.add(adds)

    def forget(self) -> None:
        """Be without a pen, as a forked child must: the slot is its parent's.

        A child that was forked inside a request and returns from it books nothing of it.
        """
        if self.pen is not None:
            self.pen.lay_down()
        self.pen = None

    def close(self) -> None:
        """Give the slot back; what was counted stays in it."""
        if self.pen is not None:
            self.pen.lay_down()
        if self._segment is not None:
            self._segment.close()
        self.pen, self._segment, self._keys = None, None, None
