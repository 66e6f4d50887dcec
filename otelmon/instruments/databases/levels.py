"""Figures that go up and down with a process, said whole, and shown for each live one.

Each: that one worker waits for connections while others have plenty is no figure of all together.
Whole: an up-down counter that is added to would drift for good where two threads, or a garbage
collection in the middle of one, cross; what is said whole is right again at the next word.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from otelmon.ledger.instrument import OVERFLOW, Instrument, Scope
from otelmon.ledger.pen import no_pen


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.ledger.instrument import Attributes
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen


SCOPE: Final = Scope("otelmon.databases")

POOL: Final = "db.client.connection.pool.name"
STATE: Final = "db.client.connection.state"


def _level(name: str, unit: str, description: str) -> Instrument:
    return Instrument(name, "up_down_counter", unit, description, (), None, SCOPE, "worker")


COUNT: Final = _level("db.client.connection.count", "{connection}", "Connections, by what they do.")
MAX: Final = _level(
    "db.client.connection.max", "{connection}", "Connections that its pools may open."
)
IDLE_MAX: Final = _level(
    "db.client.connection.idle.max", "{connection}", "Idle connections that are kept open."
)
PENDING: Final = _level(
    "db.client.connection.pending_requests", "{request}", "What waits for a connection."
)
OVERFLOWING: Final = _level(
    "otelmon.db.client.connection.overflow",
    "{connection}",
    "Connections that are open beyond those that are kept.",
)


class Level:
    """One series of this process."""

    __slots__ = ("_attributes", "_instrument", "_lane", "_ledger", "_pen", "_said")

    def __init__(self, ledger: Ledger, instrument: Instrument, attributes: dict[str, str]) -> None:
        """Have said nothing."""
        self._ledger = ledger
        self._instrument = instrument
        self._attributes: Attributes = tuple(sorted(attributes.items()))
        # Weak, as a pen holds the ledger's memory: a closed monitor is to leave none behind.
        self._pen: Callable[[], Pen | None] = no_pen
        self._lane = 0
        self._said: int | None = None

    def say(self, figure: int | None) -> None:
        """Say this process's figure; None where it has none any more."""
        pen = self._ledger.pen
        here = pen is not None and pen is self._pen()
        if here and figure == self._said:
            return
        if not here:
            if figure is None:
                return
            pen = self._place()
        if pen is None:
            return
        # The second lane tells that the first one is in use; both are zero again with the process.
        pen.values[self._lane] = figure or 0.0
        pen.values[self._lane + 1] = 0.0 if figure is None else 1.0
        self._said = figure

    def _place(self) -> Pen | None:
        """Find its lanes where this process records now; if there are none, it is said next time."""
        hold = self._ledger.holding()
        series = hold.series(self._instrument, self._attributes)
        if series is None or series.attributes == OVERFLOW:
            return None
        pen = hold.pen
        self._pen, self._lane = no_pen if pen is None else weakref.ref(pen), series.base
        return pen
