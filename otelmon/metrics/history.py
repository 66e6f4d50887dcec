"""The history: a point per interval, kept for an hour, and the columns that are shown of it.

Points are in the order of the monotonic clock, and bear the time of the wall clock of their moment.
Where a point should be and is none, where the clock was set, or the machine slept, stands a row of
nulls: no line is drawn over what is not known.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.metrics import databases


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otelmon.board import Number
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.summary import Figures


SECONDS: Final = 3600
MOST: Final = 360
_SECOND: Final = 1_000_000_000
_UNKNOWN: Final = math.nan
# So much later than an interval after the last one, a point comes in another one's place.
_LATE: Final = 0.6
_CLOCK_SECONDS: Final = 1.0


class Now(NamedTuple):
    """What is known at the moment of a point."""

    reading: Reading
    host: Mapping[str, Number]
    minute: Figures
    queue_p95: float | None  # ms, over the last minute
    workers: Mapping[str, Any]
    """As `/api/metrics` has them"""
    cache_hit_rate: float | None = None
    """Fraction, over 300 s"""
    redis_connections: int | None = None


def _host(field: str) -> Callable[[Now], Number]:
    return lambda now: now.host.get(field)


def _worker(field: str) -> Callable[[Now], Number]:
    return lambda now: now.workers[field]


SERIES: Final[Mapping[str, Callable[[Now], Number]]] = {
    "cpu_percent": _host("cpu_percent"),
    "memory_percent": _host("memory_percent"),
    "memory_used": _host("memory_used"),
    "disk_percent": _host("disk_percent"),
    "disk_used": _host("disk_used"),
    "network_bytes_sent": _host("network_bytes_sent"),
    "network_bytes_recv": _host("network_bytes_recv"),
    "load_avg": _host("load_avg"),
    "process_count": _host("process_count"),
    "thread_count": _host("thread_count"),
    "request_count": lambda now: now.reading.finished,
    "request_rate": lambda now: now.minute.rate,
    "error_rate": lambda now: now.minute.error_rate,
    "avg_response_time": lambda now: now.minute.mean,
    "p50": lambda now: now.minute.p50,
    "p95": lambda now: now.minute.p95,
    "p99": lambda now: now.minute.p99,
    "queue_p95": lambda now: now.queue_p95,
    "active_connections": lambda now: now.reading.in_flight,
    "workers_busy": _worker("busy"),
    "workers_total": _worker("total"),
    "workers_draining": _worker("draining"),
    "capacity": _worker("capacity"),
    "oldest_request_seconds": _worker("oldest_request_seconds"),
    "accept_backlog": _worker("accept_backlog"),
    "lost_requests": _worker("lost_requests"),
    "worker_starts": _worker("starts"),
    "worker_deaths": _worker("deaths"),
    "series": lambda now: len(now.reading.series) - len(now.reading.resting),
    "cache_hit_rate": lambda now: now.cache_hit_rate,
    "redis_connections": lambda now: now.redis_connections,
    "disk_bytes_read": _host("disk_bytes_read"),
    "disk_bytes_written": _host("disk_bytes_written"),
    "database_connections": lambda now: databases.in_use(now.reading),
}
"""What is kept; new ones come at the end, because a point's values have no names"""


@dataclass(frozen=True, slots=True)
class Point:
    """One moment's values, in the order of SERIES."""

    monotonic: int  # ns
    at: float  # Unix time, to the millisecond
    interval: float  # seconds until the next one
    values: tuple[float | None, ...]


def point(now: Now, at: float, interval: float) -> Point:
    """Return the point of this moment."""
    values = tuple(read(now) for read in SERIES.values())
    return Point(now.reading.monotonic, round(at, 3), interval, values)


def encode(taken: Point) -> bytes:
    """Return the bytes of a point."""
    values = (_UNKNOWN if value is None else float(value) for value in taken.values)
    return array("d", (taken.at, taken.interval, *values)).tobytes()


def decode(monotonic: int, data: bytes) -> Point | None:
    """Return the point of these bytes, None if they are none."""
    numbers = array("d")
    if len(data) % numbers.itemsize or len(data) < 2 * numbers.itemsize:
        return None
    numbers.frombytes(data)
    at, interval, *values = numbers
    if not (interval > 0 and math.isfinite(at)):
        return None
    known = tuple(value if math.isfinite(value) else None for value in values[: len(SERIES)])
    return Point(monotonic, at, interval, known + (None,) * (len(SERIES) - len(known)))


def recent(points: Sequence[Point]) -> list[Point]:
    """Return those of the last hour before the newest, oldest first."""
    ordered = sorted(points, key=lambda each: each.monotonic)
    if not ordered:
        return []
    oldest = ordered[-1].monotonic - SECONDS * _SECOND
    return [each for each in ordered if each.monotonic > oldest]


def columns(
    points: Sequence[Point],
    *,
    interval: float,
    since: float | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the series by name, and the times of their values.

    Only what is later than *since* (Unix time). At the most 360 rows: of more points, every second
    or third or so is shown, the last of its stretch, and `interval` says how far they are apart.
    *interval* stands there while there is no point.
    """
    wanted = [each for each in points if since is None or each.at > since]
    step = _step(wanted) if wanted else interval
    rows = list(_rows(_thinned(wanted, step), step))[-MOST:]
    positions = {name: position for position, name in enumerate(SERIES)}
    return {
        "interval": step,
        "times": [at for at, _ in rows],
        "series": {
            name: [None if row is None else _shown(row.values[positions[name]]) for _, row in rows]
            for name in (positions if names is None else names)
        },
    }


def _step(points: Sequence[Point]) -> float:
    """Return the multiple of the interval at which the points are no more than may be."""
    interval = points[-1].interval
    length = (points[-1].monotonic - points[0].monotonic) / _SECOND
    return interval * max(1, math.ceil(round(length / interval / MOST, 3)))


def _thinned(points: Sequence[Point], step: float) -> list[Point]:
    """Leave one point for each step where there are more; the same ones at whatever time."""
    if step <= points[-1].interval if points else True:
        return list(points)
    return list({each.monotonic // round(step * _SECOND): each for each in points}.values())


def _rows(points: Sequence[Point], step: float) -> Iterator[tuple[float, Point | None]]:
    """Yield the points with their times, and None where one is missing."""
    for before, after in pairwise(points):
        yield before.at, before
        elapsed = (after.monotonic - before.monotonic) / _SECOND
        missing = int(elapsed / step + 1 - _LATE) - 1
        clock = abs(after.at - before.at - elapsed) > max(_CLOCK_SECONDS, step / 2)
        for number in range(max(missing, int(clock))):
            yield round(before.at + (number + 1) * step, 3), None
    if points:
        yield points[-1].at, points[-1]


def _shown(value: float | None) -> float | None:
    if value is None:
        return None
    return int(value) if value.is_integer() else round(value, 3)
