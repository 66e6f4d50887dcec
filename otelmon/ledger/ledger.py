"""This process's part in the ledger: its slot, its pen, and the reading of all."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon import faults
from otelmon.errors import LedgerError
from otelmon.ledger import layout, reader, slots
from otelmon.ledger.fault_counts import FaultCounts
from otelmon.ledger.hold import Hold
from otelmon.ledger.keys import SERIES_LIMIT, TOTAL_LIMIT, Keys
from otelmon.ledger.moving import Early, move
from otelmon.ledger.opening import mark_private, opened, sign, vouch
from otelmon.ledger.requests import DURATION
from otelmon.ledger.segment import Segment


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.ledger.ageing import Ageing
    from otelmon.ledger.identity import Identity
    from otelmon.ledger.instrument import Attributes, Instrument, Series
    from otelmon.ledger.pen import Pen
    from otelmon.ledger.reader import Reading


log = logging.getLogger("otelmon")

# How often a process without a slot tries to get one.
_JOIN_SECONDS: Final = 10.0
_LOST: Final = (
    "This process has lost slot {}: another one has it, too, or the application has closed the "
    "descriptors of the ledger's files."
)
# How long the end of a process waits for a beat that is under way.
_END_SECONDS: Final = 1.0


class Home(NamedTuple):
    """Where the instance's file lies."""

    place: Path
    identity: Identity


class Ledger:
    """The memory that the processes of an instance share, seen from one of them.

    Until `serve` or `serve_alone` there is no file and no pen. A forked child has no pen either,
    whatever its parent had: it must serve for itself.
    """

    def __init__(self, *, series_limit: int = SERIES_LIMIT, total_limit: int = TOTAL_LIMIT) -> None:
        """Begin without memory; the limits bound the series of one instrument, and all series."""
        self.pen: Pen | None = None
        self._limits = {"series_limit": series_limit, "total_limit": total_limit}
        self._hold: Hold | None = None
        self._early = Early(self._claim)
        self._fault_counts = FaultCounts()
        self._home: Home | None = None
        self._join_at = 0.0

    def limit(self, *, series_limit: int, total_limit: int) -> None:
        """Set other limits, for the memory that is taken from now on."""
        self._limits = {"series_limit": series_limit, "total_limit": total_limit}

    # -- serving ---------------------------------------------------------------------------------

    def serve(self, place: Path, identity: Identity, *, capacity: int = 0) -> Pen:
        """Claim a slot in the instance's file, which is made if it is not there.

        *capacity* is how many requests this process can serve at once, 0 if unknown.

        Raises:
            LedgerError, OSError: no slot can be had there.
        """
        self._home = Home(place, identity)
        return self._take_up(self._claim_at(self._home, capacity))

    def serve_alone(self, *, capacity: int = 0) -> Pen:
        """Count in memory of this process's own."""
        return self._take_up(self._claim(Segment(), capacity))

    def _take_up(self, hold: Hold) -> Pen:
        # All at once: a thread that reads meanwhile must know its own slot, which no lock tells.
        old, self._hold = self._hold, hold
        assert hold.pen is not None
        self.pen = hold.pen
        self._early.hand_over(hold)
        if old is not None and not hold.segment.has_locks_of(old.segment):
            # Not before: while there is nothing else, readers are to see who lives in this one.
            old.segment.close()
        return hold.pen

    def _claim_at(self, home: Home, capacity: int) -> Hold:
        old = self._hold
        if old is not None and old.pen is None:
            # A forked child's, inherited: closed later, it would take the child's new locks along.
            old.segment.close()
        with opened(*home) as segment:
            try:
                hold = self._claim(segment, capacity)
            except BaseException:
                segment.close()
                raise
            sign(segment.header, home.identity.server)
        return hold

    def _claim(self, segment: Segment, capacity: int = 0) -> Hold:
        number = next((n for n in range(layout.SLOTS) if segment.claim(n)), None)
        if number is None:
            raise LedgerError(f"All {layout.SLOTS} slots of the ledger belong to live processes.")
        keys = Keys(segment, **self._limits)
        pen = slots.take_over(segment, keys, number, capacity=capacity)
        return Hold(segment, keys, pen, capacity)

    # -- series ----------------------------------------------------------------------------------

    def series(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Return the series to record to with `pen`; see `Hold.series`."""
        return None if self._hold is None else self._hold.series(instrument, attributes)

    def holding(self) -> Hold:
        """Return where this process records now: memory of its own until it serves."""
        hold = self._hold
        if hold is not None and hold.pen is not None:
            return hold
        early = self._early.hold()
        # Meanwhile another thread may have had the process serve, and taken over what was early.
        return early if self._hold is hold else self.holding()

    # -- life ------------------------------------------------------------------------------------

    @property
    def stem(self) -> Path | None:
        """Return what the names of the instance's files begin with; None without a shared file."""
        if self._hold is None or self._home is None or not self._hold.segment.shared:
            return None
        return self._home.place / f"{self._home.identity.name}.ledger"

    @property
    def segment(self) -> Segment | None:
        """Return the memory in use, if any."""
        return None if self._hold is None else self._hold.segment

    def read(self) -> Reading | None:
        """Merge all processes' slots; None before this process serves."""
        hold = self._hold
        if hold is None:
            return None
        own = None if hold.pen is None else hold.pen.number
        return reader.read(hold.segment, hold.keys, own=own)

    def age(self, ageing: Ageing, reading: Reading) -> None:
        """Put series to rest that *ageing* finds idle; only the keeper does.

        Raises:
            LedgerError, OSError: there is no space to say so.
        """
        if self._hold is not None and self._hold.pen is not None:
            ageing.age(self._hold.keys, reading)

    def beat(self, *, draining: bool) -> None:
        """Show that this process lives, follow the file if it was replaced, and book what failed."""
        hold, home = self._hold, self._home
        if hold is None or hold.pen is None:
            return
        if home is not None and not hold.segment.replaced():
            vouch(hold.segment.header, home.identity.server)
            hold = self._kept(hold, hold.pen)
        if home is not None and (hold.segment.replaced() or not hold.segment.shared):
            self._join(hold, home)
        if self.pen is not None:
            head = self.pen.head
            head[layout.HEAD_OLDEST] = self.pen.oldest()
            head[layout.HEAD_DRAINING] = int(draining)
            head[layout.HEAD_BEAT] = time.monotonic_ns()
        self.book_faults(patience=0.0)

    def book_faults(self, *, patience: float = _END_SECONDS) -> None:
        """Add what failed in this process since its last beat to what failed in the instance."""
        if self._hold is not None:
            self._fault_counts.add(self._hold, patience=patience)

    def _kept(self, hold: Hold, pen: Pen) -> Hold:
        """Return the hold, or one of no slot, from which `_join` goes on, if another has the slot.

        That is so where the application itself has opened and closed the file of the locks. What
        this process has counted until then stays where it is; the locks are given back, for by
        them another one that has died since would be shown as alive.
        """
        if hold.segment.keep(pen.number) or self._hold is not hold:  # closed meanwhile
            return hold
        faults.report("ledger", LedgerError(_LOST.format(pen.number)))
        pen.lay_down()
        self._take_up(self._claim(Segment(), hold.capacity))
        return self.holding()

    def _join(self, hold: Hold, home: Home) -> None:
        """Leave a memory that is not the instance's, if the instance has a slot for this process.

        Until then this process counts for itself, and both memories say so to their readers.
        """
        now = time.monotonic()
        if now >= self._join_at:
            self._join_at = now + _JOIN_SECONDS
            try:
                self._move(hold, home)
            except (LedgerError, OSError) as error:
                faults.report("ledger", error)
            else:
                self._join_at = 0.0
                log.warning("This process has moved to the ledger in %s.", home.place)
                return
        hold.segment.header[layout.HEADER_PRIVATE_BEAT] = time.monotonic_ns()
        mark_private(*home)

    def _move(self, hold: Hold, home: Home) -> None:
        """Carry this process's counts over to the instance's file, from another memory.

        What it has in flight is counted as lost; what only dead processes had counted, in slots
        that nobody has taken over, stays in the old one.
        """
        assert hold.pen is not None
        fresh = self._take_up(self._claim_at(home, hold.capacity))
        taken = hold.pen.handed_over()
        known = hold.keys.series()
        move(taken, known, self.holding())
        # Behind what was finished: killed in between, it would seem to have had all that in flight.
        done = reader.finished(taken.counts, (s for s in known if s.instrument == DURATION))
        started = taken.counts[layout.LANE_STARTED]
        fresh.add([(layout.LANE_STARTED, started), (layout.LANE_LOST, max(0, started - done))])

    def forget(self) -> None:
        """Be without a pen, as a forked child must: the slot is its parent's.

        A child that was forked inside a request and returns from it books nothing of it.
        """
        self._early.forget(self._fresh)
        self._fault_counts.forget()
        if self._hold is not None and self._hold.pen is not None:
            self._hold.pen.lay_down()
            self._hold = self._fresh(self._hold)._replace(pen=None)
        self.pen = None

    def _fresh(self, hold: Hold) -> Hold:
        # Not the parent's key table: another thread may have held its lock at the fork.
        return hold._replace(keys=Keys(hold.segment, **self._limits))

    @property
    def dropped(self) -> int:
        """Return how many records its ancestors made before the fork, and never counted."""
        return self._early.dropped

    def close(self) -> None:
        """Give the slot back; what was counted stays in it."""
        self.book_faults()
        self._fault_counts.forget()  # its pen holds the memory
        if self._hold is not None:
            if self._hold.pen is not None:
                self._hold.pen.lay_down()
            self._hold.segment.close()
        self.pen, self._hold, self._home = None, None, None
        self._join_at = 0.0
