"""The instruments that are recorded to where something happens.

The methods that an application calls spell out their common case: the pen is known, the attributes
were seen before, the amount is of a plain type. That is a few look-ups and one store per lane, and
nothing in it can wait, so it can be called from a signal handler, a GC callback and any thread (see
`otelmon.ledger.pen`). Everything else goes through `record_any`, which never raises.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from otelmon import faults
from otelmon.metrics.api import amounts
from otelmon.metrics.api.amounts import LARGEST, WHOLE
from otelmon.metrics.api.places import Interrupted, NoPlaces, Places


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from opentelemetry.context import Context

    from otelmon.ledger.instrument import Instrument
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen
    from otelmon.metrics.api.places import Place

    Attributes = Mapping[str, object] | None


log = logging.getLogger("otelmon")


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
        """Record, whatever that takes; it never raises."""
        if self._silent:
            return
        try:
            number = self._accepted(amount)
            if number is not None:
                self._record(number, attributes)
        except Exception as error:  # noqa: BLE001 - the application goes on; only the figure is lost
            faults.report("metric", error)

    def _record(self, number: float, attributes: Attributes) -> None:
        places = self._found()
        try:
            place = places.find(attributes)
        except Interrupted as interrupted:
            # A handler or GC callback that runs in the middle of a change of the key table, and
            # cannot wait for its end: what it interrupts records this then.
            later = partial(self.record_any, number, dict(interrupted.attributes))
            interrupted.keys.afterwards(later)
        else:
            self._put(places.pen, place, number)

    def silence(self) -> None:
        """Record nothing any more."""
        self._silent = True
        self.places = NoPlaces()

    def place(self, attributes: Attributes) -> tuple[Places | NoPlaces, Place | None]:
        """Return among which places attributes that were recorded before have one, and which."""
        places = self.places
        return places, places.known(attributes)

    def _found(self) -> Places:
        """Return the places in the memory that this process records to now."""
        hold, places = self.ledger.holding(), self.places
        if not isinstance(places, Places) or places.pen is not hold.pen:
            places = self.places = Places(hold, self._instrument, self._keep)
        return places

    def _put(self, pen: Pen, place: Place, number: float) -> None:
        with pen.lock:
            self._store(pen, place, number)

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
    def _store(self, pen: Pen, place: Place, number: float) -> None:
        """Store a number that was accepted."""


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
        pen: Any = self.ledger.pen
        if places.fast is pen and kind is int and 0 <= amount < WHOLE:
            try:
                raw = tuple(attributes.items()) if attributes else ()
                place = places.texts.get(raw) or places.typed(raw)
            except (AttributeError, TypeError):
                place = None  # not attributes that could be looked up as they are
            if place is not None:
                pen.counts[place[0]] += amount
                return
        self.record_any(amount, attributes)

    def _store(self, pen: Pen, place: Place, number: float) -> None:
        amounts.add(pen, *place, number)

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
        pen: Any = self.ledger.pen
        if places.fast is pen and kind is int and -WHOLE < amount < WHOLE:
            try:
                raw = tuple(attributes.items()) if attributes else ()
                place = places.texts.get(raw) or places.typed(raw)
            except (AttributeError, TypeError):
                place = None
            if place is not None:
                pen.values[place[0]] += amount
                return
        self.record_any(amount, attributes)

    def _store(self, pen: Pen, place: Place, number: float) -> None:
        amounts.shift(pen, place[0], number)


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
        pen: Any = self.ledger.pen
        kind: object = amount.__class__
        if places.fast is pen and (kind is float or kind is int) and 0.0 <= amount < LARGEST:
            try:
                raw = tuple(attributes.items()) if attributes else ()
                place = places.texts.get(raw) or places.typed(raw)
            except (AttributeError, TypeError):
                place = None
            if place is not None:
                # First the store that may be refused: a whole number can be too large for a float.
                pen.sums[place[1]] += amount
                pen.counts[place[0] + bisect_left(self.bounds, amount)] += 1
                return
        self.record_any(amount, attributes)

    def _store(self, pen: Pen, place: Place, number: float) -> None:
        pen.sums[place[1]] += number
        pen.counts[place[0] + bisect_left(self.bounds, number)] += 1

    def bind(self, attributes: Attributes = None) -> BoundHistogram:
        """Return a histogram of these attributes alone, for where it is recorded to very often."""
        return BoundHistogram(self, attributes)


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

    def _store(self, pen: Pen, place: Place, number: float) -> None:
        if self._instrument.merge == "recent":
            amounts.say_last(pen, place[1], number)
        else:
            amounts.say(pen, place[0], number)


class BoundCounter:
    """A counter of one set of attributes: where to store is found once for a process."""

    def __init__(self, counter: Counter, attributes: Attributes) -> None:
        """Add to *counter*."""
        self._counter = counter
        self._attributes = dict(attributes or {})
        self._at: tuple[Places | NoPlaces, Place | None] = (NoPlaces(), None)

    def add(self, amount: float) -> None:
        """Add *amount*, which must not be negative."""
        pen: Any = self._counter.ledger.pen
        kind: object = amount.__class__
        places, place = self._at
        # The instrument has other places after a move, and none once it is silent.
        current = places is self._counter.places and places.fast is pen
        if current and place and kind is int and 0 <= amount < WHOLE:
            pen.counts[place[0]] += amount
        else:
            self._counter.record_any(amount, self._attributes)
            if pen is not None:  # before the process serves there is no fast path to find
                self._at = self._counter.place(self._attributes)


class BoundHistogram:
    """A histogram of one set of attributes: where to store is found once for a process."""

    def __init__(self, histogram: Histogram, attributes: Attributes) -> None:
        """Record to *histogram*."""
        self._histogram = histogram
        self._attributes = dict(attributes or {})
        self._bounds = histogram.bounds
        self._at: tuple[Places | NoPlaces, Place | None] = (NoPlaces(), None)

    def record(self, amount: float) -> None:
        """Record *amount*, which must not be negative."""
        pen: Any = self._histogram.ledger.pen
        kind: object = amount.__class__
        places, place = self._at
        current = places is self._histogram.places and places.fast is pen
        if current and place and (kind is float or kind is int) and 0.0 <= amount < LARGEST:
            pen.sums[place[1]] += amount
            pen.counts[place[0] + bisect_left(self._bounds, amount)] += 1
        else:
            self._histogram.record_any(amount, self._attributes)
            self._at = self._histogram.place(self._attributes)
