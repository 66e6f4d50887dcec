"""The instruments that are recorded to where something happens.

The methods that an application calls spell out their common case: the pen is known, the attributes
were seen before, the amount is of a plain type. That is a few look-ups and one store per lane, and
nothing in it can wait, so it can be called from a signal handler, a GC callback and any thread (see
`otelmon.ledger.pen`). The pen is looked up behind the last call: while a thread is in one, another
may hand over to other memory. Everything else goes through `record_any`.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from otelmon.metrics.api import amounts
from otelmon.metrics.api.amounts import LARGEST, WHOLE
from otelmon.metrics.api.bound import BoundCounter, BoundHistogram
from otelmon.metrics.api.recorder import Recorder


if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from opentelemetry.context import Context

    from otelmon.ledger.instrument import Instrument
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen
    from otelmon.metrics.api.places import Place
    from otelmon.metrics.api.recorder import Attributes


class Counter(Recorder, metrics.Counter):
    """Sums what is added, over all processes and for good."""

    growing = True

    def add(
        self,
        amount: float,
        attributes: Attributes = None,
        context: Context | None = None,  # noqa: ARG002 - no exemplars
    ) -> None:
        """Add *amount*, which must not be negative."""
        places = self.places
        kind: object = amount.__class__
        if kind is int and 0 <= amount < WHOLE:
            try:
                raw = tuple(attributes.items()) if attributes else ()
                place = places.texts.get(raw) or places.typed(raw)
            except (AttributeError, TypeError):
                place = None  # not attributes that could be looked up as they are
            pen: Any = self.ledger.pen
            if place is not None and places.fast is pen:
                pen.counts[place[0]] += amount
                return
        self.record_any(amount, attributes)

    def _store(self, pen: Pen, place: Place, number: float) -> bool:
        return amounts.add(pen, *place, number)

    def bind(self, attributes: Attributes = None) -> BoundCounter:
        """Return a counter of these attributes alone, for where it is added to very often."""
        return BoundCounter(self, attributes)


class UpDownCounter(Recorder, metrics.UpDownCounter):
    """Sums what is added by each process, for as long as it lives."""

    def add(
        self,
        amount: float,
        attributes: Attributes = None,
        context: Context | None = None,  # noqa: ARG002 - no exemplars
    ) -> None:
        """Add *amount*, which may be negative."""
        places = self.places
        kind: object = amount.__class__
        if kind is int and -WHOLE < amount < WHOLE:
            try:
                raw = tuple(attributes.items()) if attributes else ()
                place = places.texts.get(raw) or places.typed(raw)
            except (AttributeError, TypeError):
                place = None
            pen: Any = self.ledger.pen
            if place is not None and places.fast is pen:
                pen.values[place[0]] += amount
                return
        self.record_any(amount, attributes)

    def _store(self, pen: Pen, place: Place, number: float) -> bool:
        return amounts.shift(pen, place[0], number)


class Histogram(Recorder, metrics.Histogram):
    """Counts amounts by buckets, and sums them, over all processes and for good."""

    growing = True

    def __init__(
        self, ledger: Ledger, instrument: Instrument, keep: AbstractSet[str] | None = None
    ) -> None:
        """Record to *ledger*, as any instrument."""
        super().__init__(ledger, instrument, keep)
        self.bounds = instrument.bounds

    def record(
        self,
        amount: float,
        attributes: Attributes = None,
        context: Context | None = None,  # noqa: ARG002 - no exemplars
    ) -> None:
        """Record *amount*, which must not be negative."""
        places = self.places
        kind: object = amount.__class__
        if (kind is float or kind is int) and 0.0 <= amount < LARGEST:
            try:
                raw = tuple(attributes.items()) if attributes else ()
                place = places.texts.get(raw) or places.typed(raw)
            except (AttributeError, TypeError):
                place = None
            bucket = bisect_left(self.bounds, amount)
            pen: Any = self.ledger.pen
            if place is not None and places.fast is pen:
                # First the store that may be refused: a whole number can be too large for a float.
                pen.sums[place[1]] += amount
                pen.counts[place[0] + bucket] += 1
                return
        self.record_any(amount, attributes)

    def _store(self, pen: Pen, place: Place, number: float) -> bool:
        lane = place[0] + bisect_left(self.bounds, number)
        pen.sums[place[1]] += number
        pen.counts[lane] += 1
        return pen.down

    def bind(self, attributes: Attributes = None) -> BoundHistogram:
        """Return a histogram of these attributes alone, for where it is recorded to very often."""
        return BoundHistogram(self, self.bounds, attributes)


class Gauge(Recorder, metrics._Gauge):  # noqa: SLF001 - the API has no other name for it
    """Keeps what was said last, by each process while it lives or by whichever said it last."""

    def set(
        self,
        amount: float,
        attributes: Attributes = None,
        context: Context | None = None,  # noqa: ARG002 - no exemplars
    ) -> None:
        """Say *amount*."""
        self.record_any(amount, attributes)

    def _store(self, pen: Pen, place: Place, number: float) -> bool:
        if self._instrument.merge == "recent":
            return amounts.say_last(pen, place[1], number)
        return amounts.say(pen, place[0], number)
