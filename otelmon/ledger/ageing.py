"""Series that nobody records to any more, and the room that they take from others.

While there is room nothing is done. Where an instrument has used most of what it may, or all
together have, the keeper puts to rest those of its series to which nothing was recorded for long: an
old deployment's routes, a customer who left. A resting series is not shown and counts for no limit.
Its lanes stay as they are, so it is in every total, and as soon as something is recorded to it, it is
shown again with all that it ever had. So no counter falls, and none is begun anew.

A gauge, or what goes up and down, that a process which lives has set never rests: whether it is set to
the same value again and again cannot be seen, and it is what that process says now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.ledger.instrument import OVERFLOW
from otelmon.ledger.reader import weigh


if TYPE_CHECKING:
    from otelmon.ledger.instrument import Series
    from otelmon.ledger.key_table import Weight
    from otelmon.ledger.keys import Keys
    from otelmon.ledger.reader import Reading


CROWDED: Final = 0.9
"""The share of a limit from which on series are put to rest"""


class Ageing:
    """Since when which series have weighed the same, as one keeper has seen it."""

    def __init__(self, idle_seconds: float) -> None:
        """Put series to rest once they were idle for so long."""
        self._idle_ns = idle_seconds * 1e9
        self._seen: dict[int, tuple[Weight, int]] = {}

    def age(self, keys: Keys, reading: Reading) -> None:
        """Look at the series of crowded instruments, and put the idle ones to rest.

        Raises:
            LedgerError, OSError: there is no more space to say so.
        """
        now, seen = reading.monotonic, {}
        for series in keys.crowded(CROWDED):
            if series.number not in reading.resting and not _must_stay(series, reading):
                weight = weigh(series, reading.lanes, reading.sums, reading.values)
                before = self._seen.get(series.number)
                same = before is not None and before[0] == weight
                seen[series.number] = before if same and before is not None else (weight, now)
        idle = {n: weight for n, (weight, since) in seen.items() if now - since >= self._idle_ns}
        if idle and keys.rest(idle):
            seen = {number: each for number, each in seen.items() if number not in idle}
        self._seen = seen


def _must_stay(series: Series, reading: Reading) -> bool:
    said = series.instrument.values and reading.values.get(series.base)
    return bool(said) or series.attributes == OVERFLOW
