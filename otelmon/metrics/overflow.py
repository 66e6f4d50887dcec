"""Instruments that have more series than they may, and the attribute that makes them so many."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from otelmon.ledger.instrument import OVERFLOW
from otelmon.ledger.reader import of_instrument, weigh


if TYPE_CHECKING:
    from otelmon.ledger.instrument import Instrument, Series
    from otelmon.ledger.reader import Reading


class Overflow(NamedTuple):
    """One of them."""

    instrument: str
    scope: str
    attribute: str | None


def overflows(reading: Reading) -> list[Overflow]:
    """Return all that have an overflow series with something in it."""
    found = (series for series in reading.series if series.attributes == OVERFLOW)
    full = (each.instrument for each in found if _holds_anything(each, reading))
    return [Overflow(each.name, each.scope.name, _explodes(reading, each)) for each in full]


def _holds_anything(series: Series, reading: Reading) -> bool:
    weight = weigh(series, reading.lanes, reading.sums, reading.values)
    return any(weight) or bool(series.instrument.values and reading.values.get(series.base))


def _explodes(reading: Reading, instrument: Instrument) -> str | None:
    """Return the attribute with the most values: most likely it should be none."""
    values = defaultdict[str, set[object]](set)
    for series in of_instrument(reading.series, instrument):
        if series.attributes != OVERFLOW and series.number not in reading.resting:
            for key, value in series.attributes:
                values[key].add(value)
    return max(values, key=lambda key: len(values[key]), default=None)
