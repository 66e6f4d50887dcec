"""How often each kind of failure was seen by all processes of the instance, the dead ones too.

Each process counts for itself first, see `otelmon.faults`: whatever fails may be the ledger. What
its counts have grown by is added to the ledger at its beat, and at its end.
"""

from __future__ import annotations

import _thread
from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.errors import LedgerError
from otelmon.ledger.instrument import OVERFLOW, Instrument
from otelmon.ledger.reader import of_instrument
from otelmon.threads import original


if TYPE_CHECKING:
    from otelmon.ledger.hold import Hold
    from otelmon.ledger.instrument import Attributes, Series
    from otelmon.ledger.pen import Pen
    from otelmon.ledger.reader import Reading


FAULTS: Final = Instrument(
    "otelmon.faults", "counter", "{fault}", "Failures inside otelmon, by kind."
)
KIND: Final = "kind"
LASTING: Final = "ledger_series"
"""Without space for a series, what is new goes into overflow series until the instance ends"""


def counted(reading: Reading | None) -> dict[str, int]:
    """Return how often each kind was seen in the instance, as far as that is in the ledger.

    `faults.OTHERS` stands for the kinds that no series could be had for.
    """
    series = () if reading is None else of_instrument(reading.series, FAULTS)
    found = {_kind(each.attributes): each.total(reading.lanes) for each in series if reading}
    return {kind: times for kind, times in found.items() if times}


def _kind(attributes: Attributes) -> str:
    return faults.OTHERS if attributes == OVERFLOW else str(dict(attributes)[KIND])


class FaultCounts:
    """Adds to the ledger what this process has seen; one thread at a time does."""

    def __init__(self) -> None:
        """Add nothing yet."""
        self.forget()

    def forget(self) -> None:
        """Be as new in a forked child."""
        self._lock = original(_thread, "allocate_lock")()
        self._pen: Pen | None = None
        self._series: dict[Attributes, Series] = {}

    def add(self, hold: Hold, *, patience: float) -> None:
        """Add what was seen since the last time; nothing if another thread is at it for *patience* s."""
        lock = self._lock
        if hold.pen is None or not lock.acquire(True, patience):
            return
        try:
            self._add(hold, hold.pen)
        finally:
            lock.release()

    def _add(self, hold: Hold, pen: Pen) -> None:
        if pen is not self._pen:
            # Other memory has other lanes; what was added has been moved there. These two at once:
            # when there is no more space they are needed, and it is too late.
            self._pen, self._series = pen, {}
            for attributes in (_of(LASTING), OVERFLOW):
                self._found(hold, attributes)
        for kind, times in faults.unbooked().items():
            series = self._found(hold, _of(kind)) or self._found(hold, OVERFLOW)
            if series is not None:
                pen.add([(series.base, times)])
                faults.book(kind, times)

    def _found(self, hold: Hold, attributes: Attributes) -> Series | None:
        """Return a series, None if it cannot be had; that is no fault, which would be one more to add."""
        found = self._series.get(attributes)
        if found is None:
            try:
                found = hold.placed(FAULTS, attributes)
            except (LedgerError, OSError):
                return None
            if found is not None:
                self._series[attributes] = found
        return found


def _of(kind: str) -> Attributes:
    return ((KIND, kind),)
