"""What all sources share: one reading per collection, and a failure that stops nothing else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.metrics import Observation

from otelmon.instruments.figures import figures


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Meter

    from otelmon.instruments.figures import Figure, Report, Row


class Reading:
    """The gauges of those fields that one call to the world gives.

    *read* returns what the gauges observe, by field; what is None is not observed. When it
    raises, nothing is, and *report* hears of it as *kind*: once for each time that it begins.
    """

    def __init__(
        self, kind: str, fields: Iterable[str], read: Callable[[], Row], report: Report
    ) -> None:
        """Name the fields; nothing is read before the first collection."""
        self._kind = kind
        self._figures = figures(*fields)
        self._read = read
        self._report = report
        self._row: Row = {}
        self._failing = False

    def bind(self, meter: Meter) -> None:
        """Create the gauges on *meter*."""
        gauges = [figure.gauge for figure in self._figures]
        for gauge in dict.fromkeys(gauges):
            mine = tuple(figure for figure in self._figures if figure.gauge == gauge)
            # A collection asks the gauges in the order in which they were made: the first one
            # reads for all of them.
            observe = partial(self._observe, mine, renew=gauge == gauges[0])
            meter.create_observable_gauge(gauge.name, [observe], gauge.unit, gauge.description)

    def _observe(
        self, mine: tuple[Figure, ...], _: CallbackOptions, *, renew: bool
    ) -> list[Observation]:
        if renew:
            self._row = self._renewed()
        values = ((self._row.get(figure.field), figure.attributes) for figure in mine)
        return [Observation(value, which) for value, which in values if value is not None]

    def _renewed(self) -> Row:
        try:
            row = self._read()
        except Exception as error:  # noqa: BLE001 - a source may fail in any way; the rest goes on
            if not self._failing:
                self._report(self._kind, error)
            self._failing = True
            return {}
        self._failing = False
        return row
