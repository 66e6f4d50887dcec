"""What was measured, as rows: one for each series, of all processes together, and of the host.

This is what every exporter and view is made of. Rows are immutable and plain: to make them needs no
SDK, no lock and no further look at the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from otelmon.instruments.figures import MEASURED
from otelmon.ledger.instrument import OVERFLOW, Instrument, Scope, by_instrument
from otelmon.ledger.reader import together
from otelmon.metrics import effective


if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelmon.board import Published
    from otelmon.instruments.figures import Figure
    from otelmon.ledger.instrument import Attributes, Series
    from otelmon.ledger.reader import Reading


HOST: Final = Scope("otelmon.host")


@dataclass(frozen=True, slots=True)
class Row:
    """One series at one moment."""

    instrument: Instrument
    attributes: Attributes
    value: float
    """What a counter or gauge says; of a histogram the sum of all amounts, in its unit"""
    buckets: tuple[int, ...] = ()
    """A histogram's counts, one for each bound and one for what is above all; else nothing"""
    worker: int | None = None
    """The slot of the process whose figure it is; None if it is of all"""

    @property
    def count(self) -> int:
        """Return how many amounts a histogram has counted."""
        return sum(self.buckets)


def of_ledger(
    reading: Reading,
    *,
    but: Scope | None = None,
    only: Scope | None = None,
    name: str | None = None,
) -> Iterator[Row]:
    """Yield what is counted; a histogram from its first amount on, an overflow once it has some.

    What is of the scope *but* is left out; where *only* is given, what is of any other, and where
    *name* is, all but the instruments of that name.
    """
    wanted = [
        several
        for instrument, several in by_instrument(reading.series).items()
        if instrument.scope != but
        and only in (None, instrument.scope)
        and name in (None, instrument.name)
    ]
    for series in sorted(chain.from_iterable(wanted), key=attrgetter("number")):
        if series.number not in reading.resting:
            yield from _of_series(series, reading)


def _of_series(series: Series, reading: Reading) -> Iterator[Row]:
    instrument = series.instrument
    if instrument.merge in ("worker", "slot"):
        for slot, value in _by_worker(series, reading):
            yield Row(instrument, series.attributes, value, worker=slot)
    elif instrument.kind == "histogram":
        buckets = tuple(series.buckets(reading.lanes))
        if any(buckets):
            yield Row(instrument, series.attributes, _amount(series, reading), buckets)
    else:
        figure = _figure(series, reading)
        if figure is not None and (figure or series.attributes != OVERFLOW):
            yield Row(instrument, series.attributes, figure)


def _by_worker(series: Series, reading: Reading) -> Iterator[tuple[int, float]]:
    if series.instrument.merge == "worker":
        yield from reading.values.get(series.base, {}).items()
        return
    for slot, counted in reading.slots.get(series.base, {}).items():
        yield slot, _scaled(series, counted.total)


def of_host(published: Published | None) -> Iterator[Row]:
    """Yield what the keeper has sampled, under the names of the semantic conventions.

    There `system` is always the host, and `container` stands beside it.
    """
    known = {} if published is None else effective.measured(published.host)
    for figure in MEASURED:
        value = known.get(figure.field)
        if value is not None:
            yield _host_row(figure, value)


def _host_row(figure: Figure, shown: float) -> Row:
    gauge = figure.gauge
    instrument = Instrument(gauge.name, "gauge", gauge.unit, gauge.description, (), None, HOST)
    # Shown as percent, observed as a fraction.
    value = shown / 100 if gauge.unit == "1" else shown
    return Row(instrument, tuple(sorted(figure.attributes.items())), value)


def _figure(series: Series, reading: Reading) -> float | None:
    if series.instrument.merge == "add":
        return _amount(series, reading)
    return together(series, reading.values, reading.recent)


def _amount(series: Series, reading: Reading) -> float:
    """Return what was added; a whole number stays one, however large, until it has a fraction."""
    instrument = series.instrument
    if instrument.scale is not None:
        return _scaled(series, series.total(reading.lanes))
    fractions = reading.sums[series.sums] if series.sums < len(reading.sums) else 0.0
    if instrument.kind == "histogram":
        return fractions
    whole = series.total(reading.lanes)
    return whole + fractions if fractions else whole


def _scaled(series: Series, total: int) -> float:
    scale = series.instrument.scale
    return total if scale is None or scale == 1 else total * scale
