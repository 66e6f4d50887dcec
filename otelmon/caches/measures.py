"""What breakers and otelmon's own caches tell; the instruments are made when they are first used.

Not before: a client that is made while modules are imported must not decide which views hold.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from otelmon.caches.breaker import CLOSED, HALF_OPEN, OPEN
from otelmon.instruments.lookups import NAME, LookUps, adder, recorder
from otelmon.instruments.observing import Few
from otelmon.instruments.redis_commands import BOUNDS, ERROR
from otelmon.metrics.caches import BREAKER, BREAKER_NAME, ERRORS, LOADS, PREVENTED, STALE
from otelmon.stack import on_own_meter


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Counter, Histogram, Meter, _Gauge

    from otelmon.caches.breaker import Breaker


_MAX_ERROR_TYPES: Final = 30
_STATES: Final = {CLOSED: "closed", HALF_OPEN: "half_open", OPEN: "open"}


class Measures:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        """Create them."""
        self.lookups = LookUps(meter)
        self.stale: Counter = meter.create_counter(
            STALE, "{operation}", "Hits on a value that was too old, while another one was made."
        )
        self.prevented: Counter = meter.create_counter(
            PREVENTED, "{operation}", "Look-ups that had a value made by another, and made none."
        )
        self.errors: Counter = meter.create_counter(
            ERRORS, "{error}", "Failures of a cache, each of which was a miss or a value not kept."
        )
        self.loads: Histogram = meter.create_histogram(
            LOADS,
            unit="s",
            description="Time to make a value that the cache did not have.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
        self._state: _Gauge = meter.create_gauge(
            BREAKER, "{state}", "How a breaker stands: 0 closed, 1 half open, 2 open."
        )
        self._changes: Counter = meter.create_counter(
            "otelmon.redis.breaker.changes", "{change}", "Changes of a breaker, by its new state."
        )
        self._rejected: Counter = meter.create_counter(
            "otelmon.redis.breaker.rejections", "{call}", "Calls that an open breaker refused."
        )

    def follow(self, breaker: Breaker) -> Callable[[], object]:
        """Show how a breaker stands from now on; return what counts a call that it refused."""
        name = {BREAKER_NAME: breaker.name}
        self._state.set(breaker.state, name)

        def told(state: int) -> None:
            self._state.set(state, name)
            self._changes.add(1, {**name, "otelmon.redis.breaker.state": _STATES[state]})

        breaker.told = told
        return functools.partial(self._rejected.add, 1, name)


class CacheMeasures:
    """The figures of one cache."""

    def __init__(self, name: str, measures: Measures) -> None:
        """Count for the cache *name*."""
        attributes = {NAME: name}
        self.hits, self.misses = measures.lookups.of(name)
        self.stale = adder(measures.stale, attributes)
        self.prevented = adder(measures.prevented, attributes)
        self.loaded = recorder(measures.loads, attributes)
        self._attributes = attributes
        self._measures = measures
        self._kinds = Few(_MAX_ERROR_TYPES)

    def load_failed(self, seconds: float, error: BaseException) -> None:
        """Record a creator that raised."""
        kind = self._kinds(type(error).__qualname__)
        self._measures.loads.record(seconds, {**self._attributes, ERROR: kind})

    def failed(self, error: BaseException) -> None:
        """Count a failure of the cache itself."""
        kind = self._kinds(type(error).__qualname__)
        self._measures.errors.add(1, {**self._attributes, ERROR: kind})


def measures() -> Measures:
    """Return the instruments on this process's own meter."""
    return on_own_meter(Measures)
