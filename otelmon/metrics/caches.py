"""What is known of caches and of Redis, of all processes. Pure functions.

What was never seen is None: an application without a cache has no hit rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.instruments.lookups import HIT, MISS, NAME, OPERATIONS, RESULT
from otelmon.instruments.observing import SCOPE
from otelmon.instruments.redis_commands import REDIS, SYSTEM
from otelmon.instruments.redis_pools import COUNT, POOL, STATE, USED
from otelmon.ledger.instrument import by_instrument
from otelmon.metrics.figures import rounded


if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelmon.ledger.instrument import Series
    from otelmon.ledger.reader import Reading


STALE: Final = "otelmon.cache.stale"
PREVENTED: Final = "otelmon.cache.stampedes_prevented"
ERRORS: Final = "otelmon.cache.errors"
LOADS: Final = "otelmon.cache.load.duration"
BREAKER: Final = "otelmon.redis.breaker.state"
BREAKER_NAME: Final = "otelmon.redis.breaker.name"
BREAKER_STATES: Final = ("closed", "half_open", "open")
"""By the values of the gauge"""


class LookedUp(NamedTuple):
    """How many look-ups found something, and how many did not."""

    hits: int
    misses: int

    @property
    def rate(self) -> float | None:
        """Return the part that found something; None without look-ups."""
        count = self.hits + self.misses
        return self.hits / count if count else None

    def since(self, before: LookedUp) -> LookedUp | None:
        """Return what came after *before*; None if a count fell: it began anew."""
        found = LookedUp(self.hits - before.hits, self.misses - before.misses)
        return found if min(found) >= 0 else None


NONE: Final = LookedUp(0, 0)


def looked_up(reading: Reading) -> LookedUp:
    """Return the look-ups in all caches, since the instance started."""
    counts = {HIT: 0, MISS: 0}
    for series in _named(reading, OPERATIONS):
        result = dict(series.attributes).get(RESULT)
        if result in counts:
            counts[str(result)] += series.total(reading.lanes)
    return LookedUp(counts[HIT], counts[MISS])


def is_observed(reading: Reading) -> bool:
    """Tell whether there is a cache."""
    return any(True for _ in _named(reading, OPERATIONS))


def connections(reading: Reading | None) -> int | None:
    """Return how many connections to Redis are in use; None where no pool was seen."""
    found = [value for _, state, value in _connections(reading) if state == USED]
    return int(sum(found)) if found else None


def caches(reading: Reading | None) -> dict[str, dict[str, Any]] | None:
    """Return each cache's figures since the instance started, by its name."""
    if reading is None:
        return None
    found: dict[str, dict[str, Any]] = {}
    for series in _named(reading, OPERATIONS):
        attributes = dict(series.attributes)
        field = {HIT: "hits", MISS: "misses"}.get(str(attributes.get(RESULT)))
        if field is not None:
            row = found.setdefault(str(attributes.get(NAME)), {"hits": 0, "misses": 0})
            row[field] += series.total(reading.lanes)
    for row in found.values():
        row["hit_rate"] = rounded(LookedUp(row["hits"], row["misses"]).rate)
    for name, more in _of_own(reading).items():
        if name in found:
            found[name].update(more)
    return found


def _of_own(reading: Reading) -> dict[str, dict[str, Any]]:
    """Return what only otelmon's own caches tell, by name: of these also zeros are known."""
    found: dict[str, dict[str, Any]] = {}
    loads: dict[str, list[float]] = {}
    for series in _named(reading, LOADS):
        name = str(dict(series.attributes).get(NAME))
        count, total = loads.get(name, (0, 0.0))
        fractions = reading.sums[series.sums] if series.sums < len(reading.sums) else 0.0
        loads[name] = [count + sum(series.buckets(reading.lanes)), total + fractions]
    for name, (count, total) in loads.items():
        mean = rounded(total / count * 1e3) if count else None
        found[name] = {"loads": int(count), "load_mean_ms": mean}
        found[name] |= dict.fromkeys(_COUNTED.values(), 0)
    for instrument, field in _COUNTED.items():
        for series in _named(reading, instrument):
            row = found.get(str(dict(series.attributes).get(NAME)))
            if row is not None:
                row[field] += series.total(reading.lanes)
    return found


_COUNTED: Final = {STALE: "stale", PREVENTED: "stampedes_prevented", ERRORS: "errors"}


def redis(reading: Reading | None) -> dict[str, Any] | None:
    """Return pools and breakers by name, None where no client of Redis was seen."""
    pools: dict[str, dict[str, int]] = {}
    for name, state, value in _connections(reading):
        row = pools.setdefault(name, {"used": 0, "idle": 0})
        row[state] = row.get(state, 0) + int(value)
    breakers: dict[str, dict[str, int]] = {}
    for name, state in _breakers(reading):
        row = breakers.setdefault(name, dict.fromkeys(BREAKER_STATES, 0))
        row[state] += 1
    return {"pools": pools, "breakers": breakers} if pools or breakers else None


def _breakers(reading: Reading | None) -> Iterator[tuple[str, str]]:
    """Yield each worker's breakers and how they stand."""
    for series in _named(reading, BREAKER):
        name = str(dict(series.attributes).get(BREAKER_NAME))
        for value in _values(series, reading):
            if 0 <= value < len(BREAKER_STATES):
                yield name, BREAKER_STATES[int(value)]


def _connections(reading: Reading | None) -> Iterator[tuple[str, str, float]]:
    for series in _named(reading, COUNT):
        attributes = dict(series.attributes)
        if attributes.get(SYSTEM) == REDIS:
            for value in _values(series, reading):
                yield str(attributes.get(POOL)), str(attributes.get(STATE)), value


def _values(series: Series, reading: Reading | None) -> list[float]:
    """Return what each live process says."""
    return [] if reading is None else list(reading.values.get(series.base, {}).values())


def _named(reading: Reading | None, name: str) -> Iterator[Series]:
    if reading is None:
        return
    for instrument, series in by_instrument(reading.series).items():
        if instrument.name == name and instrument.scope.name == SCOPE:
            yield from series
