"""What all processes together had counted at one moment, by route: the ends of a window.

A snapshot is compact, because many are kept: whole numbers, compressed. A route is named by the
number of its first series, which never changes in a ledger.
"""

from __future__ import annotations

import zlib
from array import array
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.errors import LedgerError
from otelmon.ledger.reader import of_instrument
from otelmon.ledger.requests import DURATION, QUEUE
from otelmon.metrics.caches import NONE, LookedUp, looked_up
from otelmon.metrics.figures import ERROR_TYPE


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelmon.ledger.instrument import Series
    from otelmon.ledger.reader import Reading


METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"

_BUCKETS: Final = len(DURATION.bounds) + 1
_ROW: Final = 2 + _BUCKETS
# Whether all routes are there, hits, misses.
_HEAD: Final = 3
# Higher levels cost several times as much, for a few percent of the bytes.
_LEVEL: Final = 1
_OVERFLOW: Final = -1
_DAMAGED: Final = (zlib.error, ValueError, IndexError)


class Tally(NamedTuple):
    """What requests come to."""

    errors: int
    duration: int  # ns
    buckets: tuple[int, ...]

    @property
    def requests(self) -> int:
        """Return how many requests were finished."""
        return sum(self.buckets)

    def since(self, before: Tally) -> Tally | None:
        """Return what came to it after *before*; None if a count fell: it began anew."""
        found = Tally(
            self.errors - before.errors,
            self.duration - before.duration,
            tuple(new - old for new, old in zip(self.buckets, before.buckets, strict=True)),
        )
        return None if min(found.errors, found.duration, *found.buckets) < 0 else found


def together(tallies: Sequence[Tally]) -> Tally:
    """Return all of them as one."""
    if len(tallies) < 2:
        return tallies[0] if tallies else NOTHING
    return Tally(
        sum(each.errors for each in tallies),
        sum(each.duration for each in tallies),
        tuple(map(sum, zip(*(each.buckets for each in tallies), strict=True))),
    )


NOTHING: Final = Tally(0, 0, (0,) * _BUCKETS)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All counts of one moment."""

    monotonic: int  # ns
    total: Tally
    queue: Tally
    """Of the time that requests waited for us"""
    routes: Mapping[int, Tally]
    """By the number of the route's first series"""
    lookups: LookedUp = NONE
    """In caches"""
    whole: bool = True
    """All routes are there; if not, those that took most time are"""


def snapshot(reading: Reading) -> Snapshot:
    """Return what *reading* says."""
    first: dict[tuple[object, object], int] = {}
    found: defaultdict[int, list[Tally]] = defaultdict(list)
    for series in of_instrument(reading.series, DURATION):
        attributes = dict(series.attributes)
        key = (attributes.get(METHOD), attributes.get(ROUTE))
        number = first.setdefault(key, series.number)
        tally = _read(series, reading, failed=ERROR_TYPE in attributes)
        if any(tally.buckets):
            # What has no route is of the overflow series: it is of any.
            found[number if ROUTE in attributes else _OVERFLOW].append(tally)
    queue = [_read(series, reading) for series in of_instrument(reading.series, QUEUE)]
    routes = {number: together(tallies) for number, tallies in found.items()}
    total = together(list(routes.values()))
    routes.pop(_OVERFLOW, None)
    return Snapshot(reading.monotonic, total, together(queue), routes, looked_up(reading))


def _read(series: Series, reading: Reading, *, failed: bool = False) -> Tally:
    buckets = series.buckets(reading.lanes)
    return Tally(sum(buckets) if failed else 0, series.total(reading.lanes), tuple(buckets))


def encode(taken: Snapshot, room: int) -> bytes:
    """Return the bytes of a snapshot, with as many of its routes as go into *room*.

    Raises:
        LedgerError: not even one without routes does.
    """
    rows = sorted(taken.routes.items(), key=lambda each: -each[1].duration)
    while True:
        whole = taken.whole and len(rows) == len(taken.routes)
        numbers = array("Q", (whole, *taken.lookups, *_flat(taken.total), *_flat(taken.queue)))
        for number, tally in rows:
            numbers.extend((number, *_flat(tally)))
        data = zlib.compress(numbers.tobytes(), _LEVEL)
        if len(data) <= room:
            return data
        if not rows:
            raise LedgerError(f"A snapshot of {len(data)} bytes does not go into {room}.")
        rows = rows[: len(rows) // 2]


def decode(monotonic: int, data: bytes) -> Snapshot | None:
    """Return the snapshot of these bytes, None if they are none."""
    numbers = array("Q")
    try:
        numbers.frombytes(zlib.decompress(data))
        total, queue = _tally(numbers, _HEAD), _tally(numbers, _HEAD + _ROW)
        start = _HEAD + 2 * _ROW
        routes = {
            numbers[at]: _tally(numbers, at + 1) for at in range(start, len(numbers), 1 + _ROW)
        }
        lookups = LookedUp(numbers[1], numbers[2])
        return Snapshot(monotonic, total, queue, routes, lookups, whole=bool(numbers[0]))
    except _DAMAGED:
        return None


def _flat(tally: Tally) -> tuple[int, ...]:
    return (tally.errors, tally.duration, *tally.buckets)


def _tally(numbers: Sequence[int], at: int) -> Tally:
    return Tally(numbers[at], numbers[at + 1], tuple(numbers[at + 2 : at + _ROW]))
