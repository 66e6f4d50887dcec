"""Instruments that have more series than they may, which of them are the cause, and by which attribute."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.ledger.instrument import OVERFLOW
from otelmon.ledger.reader import of_instrument, weigh


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otelmon.ledger.instrument import Instrument, Series
    from otelmon.ledger.reader import Reading


# Together they have all that they may once this share of it is in use: some may rest meanwhile.
_FULL: Final = 0.9
# Of the instruments that share a limit those are the cause that have this part of the largest one's.
_LARGE: Final = 0.5


class Overflow(NamedTuple):
    """One of them, or one that takes the room of others."""

    instrument: str
    scope: str
    attribute: str | None
    """The one with the most values, most likely it should be none; None of a victim"""
    series: int
    guilty: bool
    """It has too many series itself; else others take its room"""


def overflows(reading: Reading, *, series_limit: int, total_limit: int) -> list[Overflow]:
    """Return all that have an overflow series with something in it, those that are the cause first.

    These are instruments that have all the series that one may have and, where all together have
    all that they may, the largest, whether they need an overflow series themselves or not.
    otelmon's own instruments share a limit of their own.
    """
    full = {
        series.instrument
        for series in reading.series
        if series.attributes == OVERFLOW and _holds_anything(series, reading)
    }
    if not full:
        return []
    sizes = Counter(series.instrument for series in _awake(reading.series, reading))
    guilty = {each for each in full if sizes[each] >= series_limit}
    for own in {each.own for each in full - guilty}:
        sharing = {each: size for each, size in sizes.items() if each.own is own}
        if sum(sharing.values()) >= _FULL * total_limit:
            most = max(sharing.values())
            guilty |= {each for each, size in sharing.items() if size >= _LARGE * most}
        else:
            # Then it was not the room: of attributes that are too long only their own knows.
            guilty |= {each for each in full if each.own is own}
    found = [_overflow(reading, each, sizes[each], guilty=each in guilty) for each in full | guilty]
    return sorted(found, key=lambda each: (not each.guilty, -each.series, each.instrument))


def _overflow(reading: Reading, instrument: Instrument, size: int, *, guilty: bool) -> Overflow:
    attribute = _explodes(reading, instrument) if guilty else None
    return Overflow(instrument.name, instrument.scope.name, attribute, size, guilty)


def _awake(found: Iterable[Series], reading: Reading) -> Iterator[Series]:
    return (
        series
        for series in found
        if series.attributes != OVERFLOW and series.number not in reading.resting
    )


def _holds_anything(series: Series, reading: Reading) -> bool:
    weight = weigh(series, reading.lanes, reading.sums, reading.values)
    return any(weight) or bool(series.instrument.values and reading.values.get(series.base))


def _explodes(reading: Reading, instrument: Instrument) -> str | None:
    values = defaultdict[str, set[object]](set)
    for series in _awake(of_instrument(reading.series, instrument), reading):
        for key, value in series.attributes:
            values[key].add(value)
    return max(values, key=lambda key: len(values[key]), default=None)
