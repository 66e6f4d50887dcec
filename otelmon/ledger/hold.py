"""What a process holds of a memory: its slot in it, and the names of the lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otelmon import faults
from otelmon.errors import LedgerError
from otelmon.ledger import slots
from otelmon.ledger.instrument import OVERFLOW


if TYPE_CHECKING:
    from otelmon.ledger.instrument import Attributes, Instrument, Series
    from otelmon.ledger.keys import Keys
    from otelmon.ledger.pen import Pen
    from otelmon.ledger.segment import Segment


class Hold(NamedTuple):
    """What this process holds of a memory; without a pen what its parent held."""

    segment: Segment
    keys: Keys
    pen: Pen | None
    capacity: int

    def series(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Return the series to record to: the one asked for, else its instrument's overflow.

        *attributes* are sorted by key. Once it has returned a series, storing to its lanes in this
        process's slot cannot fail. None if not even the overflow series can be had.
        """
        for wanted in (attributes, OVERFLOW):
            try:
                found = self.placed(instrument, wanted)
            except (LedgerError, OSError) as error:
                faults.report("ledger_series", error)
                found = None
            if found is not None:
                return found
        return None

    def placed(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Return this very series, with space in this process's slot; None past a limit.

        Raises:
            LedgerError, OSError: there is no more space.
        """
        if self.pen is None:
            return None
        found = self.keys.find(instrument, attributes) or self.keys.place(instrument, attributes)
        if found is not None:
            slots.take_space(self.segment, self.pen.number, found)
        return found
