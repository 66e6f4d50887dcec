"""Look-ups in caches: what was found, and what was not, by cache.

One look-up is counted once, at the outermost cache that is asked: what a cache asks of another one
below it (Flask-Caching of cachelib, Django of Redis) is that one's inner life.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon import faults
from otelmon.instruments.observing import Few


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import Counter, Histogram, Meter


OPERATIONS: Final = "otelmon.cache.operations"
NAME: Final = "otelmon.cache.name"
RESULT: Final = "otelmon.cache.result"
HIT: Final = "hit"
MISS: Final = "miss"

# The program names its caches; somebody may still name one after each of many customers.
_MAX_NAMES: Final = 100

inside: ContextVar[bool] = ContextVar("otelmon.cache.inside", default=False)
"""Whether a cache is being asked already, whose look-up this one is a part of"""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Count no look-up meanwhile: it is a part of another one, or none of a cache."""
    token = inside.set(True)
    try:
        yield
    finally:
        inside.reset(token)


@contextlib.contextmanager
def aloud() -> Iterator[None]:
    """Count look-ups again, within `quietly`: what makes a missing value asks for itself."""
    token = inside.set(False)
    try:
        yield
    finally:
        inside.reset(token)


class Adds(NamedTuple):
    """What counts the look-ups of one cache."""

    hits: Callable[[int], object]
    misses: Callable[[int], object]


class LookUps:
    """The counter of look-ups on one meter."""

    def __init__(self, meter: Meter) -> None:
        """Create the counter."""
        self._counter = meter.create_counter(
            OPERATIONS, "{operation}", "Look-ups in caches, by what came of them."
        )
        self._shown = Few(_MAX_NAMES)
        self._adds: dict[str, Adds] = {}

    def of(self, name: str) -> Adds:
        """Return what counts the look-ups of the cache *name*."""
        shown = self._shown(name)
        found = self._adds.get(shown)
        if found is None:
            found = self._adds[shown] = Adds(self._add(shown, HIT), self._add(shown, MISS))
        return found

    def book(self, name: str, hits: int, misses: int) -> None:
        """Count look-ups; whatever fails here is ours."""
        try:
            adds = self.of(name)
            if hits:
                adds.hits(hits)
            if misses:
                adds.misses(misses)
        except Exception as fault:  # noqa: BLE001 - the application has its answer; only the figure is lost
            faults.report("cache_lookup", fault)

    def _add(self, name: str, result: str) -> Callable[[int], object]:
        return adder(self._counter, {NAME: name, RESULT: result})


def adder(counter: Counter, attributes: dict[str, str]) -> Callable[[int], object]:
    """Return what adds to a counter under these attributes, in the fastest way that it has."""
    bind = getattr(counter, "bind", None)
    add: Callable[[int], object] = (
        partial(counter.add, attributes=attributes) if bind is None else bind(attributes).add
    )
    return add


def recorder(histogram: Histogram, attributes: dict[str, Any]) -> Callable[[float], object]:
    """Return what records to a histogram under these attributes, in the fastest way."""
    bind = getattr(histogram, "bind", None)
    record: Callable[[float], object] = (
        partial(histogram.record, attributes=attributes)
        if bind is None
        else bind(attributes).record
    )
    return record
