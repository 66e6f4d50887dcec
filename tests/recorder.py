"""A worker in miniature: it has a slot, and counts requests as the middleware does."""

from __future__ import annotations

import os
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from otelmon.ledger import identity
from otelmon.ledger.identity import Identity, Process
from otelmon.ledger.instrument import Instrument
from otelmon.ledger.keys import SERIES_LIMIT
from otelmon.ledger.layout import LANE_STARTED
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import DURATION, SECONDS


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.ledger.instrument import Attributes
    from otelmon.ledger.pen import Pen
    from otelmon.ledger.reader import Reading


GAUGE: Final = Instrument("test.gauge", "gauge", "1", "What a test says.")
COUNTER: Final = Instrument("test.counter", "counter", "1", "What a test counts.")

Figures = dict[tuple[str, "Attributes"], tuple[int, ...]]


def this_instance(name: str = "one", *, server: Process | None = None) -> Identity:
    """Return the identity of an instance whose server is this process, unless told otherwise."""
    own = Process(os.getpid(), identity.start_time(os.getpid()) or 0)
    return Identity(name, server or own, identity.boot_id(), identity.network_namespace())


class Recorder:
    """What a worker does with the ledger."""

    def __init__(
        self, place: Path, instance: Identity, *, series_limit: int = SERIES_LIMIT
    ) -> None:
        """Serve."""
        self.ledger = Ledger(series_limit=series_limit)
        self.ledger.serve(place, instance)

    @property
    def pen(self) -> Pen:
        """Return the pen in use."""
        assert self.ledger.pen is not None
        return self.ledger.pen

    def slot(self) -> int:
        """Return the number of the slot."""
        return self.pen.number

    def begin(self, times: int = 1) -> None:
        """Begin requests."""
        self.pen.add([(LANE_STARTED, times)])

    def end(self, route: str = "/", times: int = 1, took: int = 1_000_000) -> None:
        """End requests that took *took* ns each."""
        series = self.ledger.series(DURATION, (("http.route", route),))
        assert series is not None
        bucket = bisect_left(SECONDS, took / 1e9)
        last = series.base + len(SECONDS) + 1
        self.pen.add([(series.base + bucket, times), (last, took * times)])

    def serve(self, route: str = "/", times: int = 1) -> None:
        """Begin and end requests."""
        self.begin(times)
        self.end(route, times)

    def count(self, amount: int = 1, attributes: Attributes = ()) -> Attributes:
        """Add to a counter; return the attributes of the series that took it."""
        series = self.ledger.series(COUNTER, attributes)
        assert series is not None
        self.pen.add([(series.base, amount)])
        return series.attributes

    def gauge(self, value: float, attributes: Attributes = ()) -> None:
        """Set a value that dies with this process."""
        series = self.ledger.series(GAUGE, attributes)
        assert series is not None
        self.pen.values[series.base] = value

    def beat(self) -> None:
        """Show that this process lives, and follow the file."""
        self.ledger.beat(draining=False)

    def read(self) -> Reading:
        """Read the whole instance."""
        reading = self.ledger.read()
        assert reading is not None
        return reading


def figures(reading: Reading) -> Figures:
    """Return the counts of each series that has any, by instrument and attributes."""
    found = {
        (series.instrument.name, series.attributes): tuple(
            reading.lanes[series.base : series.base + series.instrument.counts]
        )
        for series in reading.series
    }
    return {key: lanes for key, lanes in found.items() if any(lanes)}


def requests(reading: Reading) -> dict[str, int]:
    """Return how many requests were finished, by route."""
    return {
        str(dict(series.attributes).get("http.route")): sum(series.buckets(reading.lanes))
        for series in reading.series
        if series.instrument == DURATION and any(series.buckets(reading.lanes))
    }


def values(reading: Reading) -> dict[Attributes, dict[int, float]]:
    """Return what each live slot says for each gauge, zeros left out."""
    found = {
        series.attributes: {slot: value for slot, value in said.items() if value}
        for series in reading.series
        for said in [reading.values.get(series.base, {})]
        if series.instrument == GAUGE
    }
    return {attributes: said for attributes, said in found.items() if said}
