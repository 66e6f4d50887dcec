"""What the instruments that are recorded to have in common, off the paths that they spell out."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.handlers import let_pass
from otelmon.metrics.api import amounts
from otelmon.metrics.api.places import Interrupted, NoPlaces, Places


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from otelmon.ledger.instrument import Instrument
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen
    from otelmon.metrics.api.places import Place

    Attributes = Mapping[str, object] | None
    At = tuple[Places | NoPlaces, int, int]
    """Among which places, at which lane, and at which lane of sums: one object, so that no thread
    sees the place of one memory with the lanes of another"""


log = logging.getLogger("otelmon")

NOWHERE: Final[At] = (NoPlaces(), 0, 0)

# In a row, while one number is recorded; it happens once or twice in a process's life.
_MOST_HANDED_OVER: Final = 5


class Recorder(ABC):
    """What the instruments have in common: where they record, and what happens off the fast path."""

    growing = False
    """Amounts must not be negative"""

    def __init__(
        self, ledger: Ledger, instrument: Instrument, keep: AbstractSet[str] | None = None
    ) -> None:
        """Record to *ledger*; of attributes only those to *keep* count, all if that is None."""
        self.ledger = ledger
        self._instrument = instrument
        self._keep = keep
        self.places: Places | NoPlaces = NoPlaces()
        self._warned = self._silent = False

    def record_any(self, amount: object, attributes: Attributes) -> None:
        """Record, whatever that takes; it raises nothing but what the application's handlers do."""
        if self._silent:
            return
        try:
            number = self._accepted(amount)
            if number is not None:
                self._record(number, attributes)
        except Exception as error:  # noqa: BLE001 - the application goes on; only the figure is lost
            let_pass(error)
            faults.report("metric", error)

    def _record(self, number: float, attributes: Attributes) -> None:
        for _ in range(_MOST_HANDED_OVER):
            places = self._found()
            if self._recorded(places, number, attributes):
                return
            if self._found() is places:
                return  # nobody has taken over: the ledger is being closed

    def _recorded(self, places: Places, number: float, attributes: Attributes) -> bool:
        """Record; return False if another memory has taken over meanwhile, and it came too late."""
        try:
            place = places.find(attributes)
        except Interrupted as interrupted:
            # A handler or GC callback that runs in the middle of a change of the key table, and
            # cannot wait for its end: what it interrupts records this then.
            later = partial(self.record_any, number, dict(interrupted.attributes))
            interrupted.keys.afterwards(later)
            return True
        return self._put(places.pen, place, number)

    def silence(self) -> None:
        """Record nothing any more."""
        self._silent = True
        self.places = NoPlaces()

    def at(self, attributes: Attributes) -> At:
        """Return where attributes that were recorded before have their lanes."""
        places = self.places
        place = places.known(attributes)
        return NOWHERE if place is None else (places, *place)

    def _found(self) -> Places:
        """Return the places in the memory that this process records to now."""
        hold, places = self.ledger.holding(), self.places
        if not isinstance(places, Places) or places.pen is not hold.pen:
            places = self.places = Places(hold, self._instrument, self._keep)
        return places

    def _put(self, pen: Pen, place: Place, number: float) -> bool:
        with pen.lock:
            return not self._store(pen, place, number)

    def _accepted(self, amount: object) -> float | None:
        """Return *amount* as a plain number; None if it is none, which is said once."""
        number = amounts.number(amount)
        if math.isfinite(number) and (number >= 0 or not self.growing):
            return number
        if not self._warned:
            self._warned = True
            log.warning(
                "%r was not recorded to %s: its amounts must be finite%s. This is said only once.",
                amount,
                self._instrument.name,
                " and not negative" if self.growing else "",
            )
        return None

    @abstractmethod
    def _store(self, pen: Pen, place: Place, number: float) -> bool:
        """Store a number that was accepted; tell whether the pen was laid down before."""
