"""Instruments of one set of attributes: where to store is found once for a process.

What is recorded amid somebody else's work, as after a query or a command to Redis, finds the
processor's caches full of that work, and takes four times as long as in a loop. So here every
instruction counts, and nothing is looked up that was known the last time.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from otelmon.metrics.api.amounts import LARGEST, WHOLE
from otelmon.metrics.api.recorder import NOWHERE


if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelmon.metrics.api.recorder import Attributes, Recorder


class BoundCounter:
    """A counter of one set of attributes."""

    __slots__ = ("_at", "_attributes", "_counter", "_ledger")

    def __init__(self, counter: Recorder, attributes: Attributes) -> None:
        """Add to *counter*."""
        self._counter = counter
        self._ledger = counter.ledger
        self._attributes = dict(attributes or {})
        self._at = NOWHERE

    def add(self, amount: float) -> None:
        """Add *amount*, which must not be negative."""
        places, lane, _ = self._at
        pen: Any = self._ledger.pen
        kind: object = amount.__class__
        # The instrument has other places after a move, and none once it is silent.
        current = places.fast is pen and places is self._counter.places
        if current and kind is int and 0 <= amount < WHOLE:
            pen.counts[lane] += amount
        else:
            self._counter.record_any(amount, self._attributes)
            if pen is not None:  # before the process serves there is no fast path to find
                self._at = self._counter.at(self._attributes)


class BoundHistogram:
    """A histogram of one set of attributes."""

    __slots__ = ("_at", "_attributes", "_bounds", "_first", "_histogram", "_ledger")

    def __init__(
        self, histogram: Recorder, bounds: Sequence[float], attributes: Attributes
    ) -> None:
        """Record to *histogram*, whose *bounds* these are."""
        self._histogram = histogram
        self._ledger = histogram.ledger
        self._attributes = dict(attributes or {})
        self._bounds = bounds
        self._first = bounds[0] if bounds else LARGEST
        self._at = NOWHERE

    def record(self, amount: float) -> None:
        """Record *amount*, which must not be negative."""
        places, lane, sums = self._at
        pen: Any = self._ledger.pen
        kind: object = amount.__class__
        current = places.fast is pen and places is self._histogram.places
        if current and (kind is float or kind is int) and 0.0 <= amount < LARGEST:
            # Most of what is timed is below the first bound; to find that out costs a call less.
            if amount > self._first:
                lane += bisect_left(self._bounds, amount)
                if pen.down:  # by another thread, during the call
                    self._histogram.record_any(amount, self._attributes)
                    return
            pen.sums[sums] += amount
            pen.counts[lane] += 1
        else:
            self._histogram.record_any(amount, self._attributes)
            if pen is not None:  # as above
                self._at = self._histogram.at(self._attributes)
