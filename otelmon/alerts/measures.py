"""The figures of the built-in rules. Pure functions of a moment."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from otelmon.alerts.moment import Growing, Measured
from otelmon.instruments.databases.levels import COUNT, MAX, POOL, STATE
from otelmon.ledger.instrument import by_instrument
from otelmon.metrics import caches


if TYPE_CHECKING:
    from otelmon.alerts.moment import Figure, Moment
    from otelmon.metrics.snapshots import Tally


# P(observed rate > 5 %) where the truth is 1 %: 1.7 % with 20 requests, 0.1 % if 3 must fail too.
ENOUGH_REQUESTS: Final = 20
LEAST_ERRORS: Final = 3
_WINDOWS: Final = (60, 300, 900)


def cpu(moment: Moment) -> Figure:
    """Return percent of the CPUs since the moment before."""
    return moment.host.get("cpu_percent")


def memory(moment: Moment) -> Figure:
    """Return percent of the memory."""
    return moment.host.get("memory_percent")


def disk(moment: Moment) -> Figure:
    """Return percent of the disk."""
    return moment.host.get("disk_percent")


def error_rate(moment: Moment) -> Figure:
    """Return percent of requests that failed, in the shortest window with enough of them.

    Without a request in the last minute there is no data: what happened before was judged then.
    """
    minute = _tally(moment, 60)
    if minute is None or not minute.requests:
        return None
    tallies = (_tally(moment, seconds) for seconds in _WINDOWS)
    known = [each for each in tallies if each is not None]
    tally = next((each for each in known if each.requests >= ENOUGH_REQUESTS), known[-1])
    # Counts are not read at one moment.
    return Measured(min(100.0, 100 * tally.errors / tally.requests), tally.requests, tally.errors)


def response_time(moment: Moment) -> Figure:
    """Return the mean of the last minute in ms."""
    tally = _tally(moment, 60)
    if tally is None or not tally.requests:
        return None
    return Measured(tally.duration / tally.requests / 1e6, tally.requests)


def _tally(moment: Moment, seconds: int) -> Tally | None:
    span = moment.spans.get(seconds)
    return None if span is None else span.after.total.since(span.before.total)


def cache(moment: Moment) -> Figure:
    """Return hits and look-ups since the ledger was made; what they come to is their growth."""
    found = caches.looked_up(moment.reading)
    known = caches.is_observed(moment.reading)
    return Growing(found.hits, found.hits + found.misses, known=known)


def gap(moment: Moment) -> Figure:
    """Return the seconds since the moment before."""
    return moment.gap


def pool(moment: Moment) -> Figure:
    """Return percent in use of the fullest pool of any worker; None where no pool has a limit."""
    limits = _by_pool(moment, MAX.name)
    used = _by_pool(moment, COUNT.name, state="used")
    shares = [100 * used.get(key, 0.0) / limit for key, limit in limits.items() if limit > 0]
    return max(shares, default=None)


def _by_pool(
    moment: Moment, instrument: str, *, state: str | None = None
) -> dict[tuple[object, int], float]:
    """Return what each live process says of each of its pools."""
    reading, found = moment.reading, dict[tuple[object, int], float]()
    known = by_instrument(reading.series).items()
    for series in chain.from_iterable(
        several for each, several in known if each.name == instrument and each.merge != "add"
    ):
        attributes = dict(series.attributes)
        if state is not None and attributes.get(STATE) != state:
            continue
        for slot, value in reading.values.get(series.base, {}).items():
            key = (attributes.get(POOL), slot)
            found[key] = found.get(key, 0.0) + value
    return found


def saturation(moment: Moment) -> Figure:
    """Return percent of the places for requests that are taken; None where none tells how many."""
    in_flight, capacity = moment.figures.get("active_connections"), moment.figures.get("capacity")
    return 100 * in_flight / capacity if in_flight is not None and capacity else None


def disk_full_hours(moment: Moment) -> Figure:
    """Return hours until the disk is full."""
    return moment.disk_full_hours


def worker_growth(moment: Moment) -> Figure:
    """Return MB an hour."""
    return moment.worker_growth
