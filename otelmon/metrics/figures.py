"""The instance's figures by their names in the JSON endpoints, out of a reading and the board.

Pure functions. What is not known is None, never a made-up 0.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.instruments.figures import (
    CONTAINER,
    CONTAINER_PRESSURE,
    FIGURES,
    HOST_SIDE,
    PRESSURE,
)
from otelmon.ledger.fault_counts import LASTING, counted
from otelmon.ledger.reader import of_instrument
from otelmon.ledger.requests import DURATION
from otelmon.metrics import databases, effective


if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otelmon.board import Point, Published
    from otelmon.instruments.figures import Row
    from otelmon.ledger.reader import Reading, Worker


WINDOW_NS: Final = 60_000_000_000
ERROR_TYPE: Final = "error.type"
"""The attribute that makes a request an error: a 5xx, an exception or a body that failed"""

HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
UNKNOWN: Final = "unknown"

# With less between two points, one request more or less would make the rate jump.
_SHORTEST_NS: Final = 1_000_000_000
# How many intervals, and then how long, the keeper may be late: its next one needs a second.
_LATE_INTERVALS: Final = 3
_LATE_SECONDS: Final = 5.0
# Every process beats each second; one that did not for so long is stopped or starved.
_SILENT_SECONDS: Final = 10.0
# After these a process counts for itself, until it finds its way into the instance's ledger again.
_PASSING: Final = frozenset(("ledger", "serve"))


class Totals(NamedTuple):
    """What all requests that were finished so far come to."""

    requests: int
    errors: int
    duration: int  # ns


class Window(NamedTuple):
    """Figures of the last 60 s, over all processes; None where not known."""

    request_rate: float | None  # per second
    error_rate: float | None  # percent
    response_time: float | None  # mean, ms


_NO_WINDOW: Final = Window(None, None, None)


def totals(reading: Reading) -> Totals:
    """Return what the keeper keeps as a point of the window."""
    durations = list(of_instrument(reading.series, DURATION))
    failed = (each for each in durations if ERROR_TYPE in dict(each.attributes))
    return Totals(
        reading.finished,
        sum(sum(each.buckets(reading.lanes)) for each in failed),
        sum(each.total(reading.lanes) for each in durations),
    )


def window(points: Sequence[Point]) -> Window:
    """Compare the last point with the newest one that is a window older, or with the oldest."""
    if not points:
        return _NO_WINDOW
    last = points[-1]
    old = [point for point in points if last.monotonic - point.monotonic >= WINDOW_NS]
    first = old[-1] if old else points[0]
    elapsed = last.monotonic - first.monotonic
    requests, errors = last.requests - first.requests, last.errors - first.errors
    # A ledger whose file was removed begins anew; what was done between the two is not known.
    if elapsed < _SHORTEST_NS or requests < 0:
        return _NO_WINDOW
    rate = requests * 1e9 / elapsed
    if not requests:
        return Window(rate, None, None)
    duration = last.duration - first.duration
    # Errors and durations were not read at one moment with the requests.
    return Window(
        rate,
        min(100.0, max(0.0, 100 * errors / requests)),
        max(0.0, duration / requests / 1e6),
    )


def keeper_age(reading: Reading | None, published: Published | None) -> float | None:
    """Return the seconds since the keeper last published."""
    if reading is None or published is None:
        return None
    return max(0.0, (reading.monotonic - published.monotonic) / 1e9)


def is_stale(reading: Reading | None, published: Published | None) -> bool:
    """Tell whether the keeper is so late that what it said is no longer about now."""
    age = keeper_age(reading, published)
    if age is None or published is None:
        return True
    return is_late(age * 1e9, published.interval)


def is_late(age: float, interval: float) -> bool:
    """Tell whether something that is made once per interval (s) is too old, its *age* in ns."""
    return age > (_LATE_INTERVALS * interval + _LATE_SECONDS) * 1e9


def current(reading: Reading | None, published: Published | None) -> Window:
    """Return the figures of the last 60 s, unknown if the keeper is late."""
    if published is None or is_stale(reading, published):
        return _NO_WINDOW
    return window(published.points)


def status(
    reading: Reading | None, published: Published | None, faults: Collection[str] = ()
) -> str:
    """Return healthy, degraded or unknown; *faults* are the kinds that this process has seen.

    The kind that lasts counts whichever process has seen it, and those that pass for this one.
    """
    if reading is None or published is None:
        return UNKNOWN
    well = (
        not is_stale(reading, published)
        and all(alert.level is None for alert in published.alerts)
        and reading.complete
        and any(worker.beat_age <= _SILENT_SECONDS for worker in reading.workers)
        and LASTING not in faults
        and LASTING not in counted(reading)
        and (reading.shared or _PASSING.isdisjoint(faults))
    )
    return HEALTHY if well else DEGRADED


def system(published: Published | None) -> dict[str, Any]:
    """Return the figures of host or container as the keeper last sampled them."""
    known = {} if published is None else published.host
    return {
        "timestamp": None if published is None else iso(published.at),
        **{figure.field: None for figure in (*FIGURES, *HOST_SIDE)},
        **{field: value for field, value in known.items() if field not in _NESTED},
        "pressure": _pressure(known, "pressure_"),
        "source": effective.sources(known),
    }


def container(published: Published | None) -> dict[str, Any] | None:
    """Return what the control groups of the process allow and use; None without any."""
    known = {} if published is None else published.host
    if all(known.get(field) is None for field in _OF_CONTAINER):
        return None
    return {
        **{
            part: {name: known.get(f"container_{field}") for name, field in fields.items()}
            for part, fields in _CONTAINER.items()
        },
        "pressure": _pressure(known, "container_pressure_"),
    }


_OF_CONTAINER: Final = tuple(figure.field for figure in (*CONTAINER, *CONTAINER_PRESSURE))
_NESTED: Final = frozenset((*_OF_CONTAINER, *(figure.field for figure in PRESSURE)))
_CONTAINER: Final = {
    "cpu": {
        "limit": "cpu_limit",
        "usage": "cpu_usage",
        "percent": "cpu_percent",
        "seconds": "cpu_time",
    },
    "throttling": {
        "periods": "cpu_periods",
        "throttled_periods": "cpu_throttled_periods",
        "throttled_seconds": "cpu_throttled_time",
    },
    "memory": {
        "limit": "memory_limit",
        "high": "memory_high",
        "usage": "memory_usage",
        "working_set": "memory_working_set",
        "available": "memory_available",
        "percent": "memory_percent",
        "oom_kills": "oom_kills",
    },
    "pids": {"current": "pids_current", "limit": "pids_limit"},
}


def _pressure(known: Row, prefix: str) -> dict[str, dict[str, Any]] | None:
    """Return the percentages by resource, or None if there are none."""
    found = {
        resource: {stalled: known.get(f"{prefix}{resource}_{stalled}") for stalled in _STALLED}
        for resource in _RESOURCES
    }
    values = (value for shares in found.values() for value in shares.values())
    return None if all(value is None for value in values) else found


_RESOURCES: Final = ("cpu", "memory", "io")
_STALLED: Final = ("some", "full")


def application(
    reading: Reading | None,
    published: Published | None,
    *,
    cache_hit_rate: float | None = None,
    redis_connections: int | None = None,
) -> dict[str, Any]:
    """Return the application's figures, of all processes."""
    recent = current(reading, published)
    return {
        "timestamp": None if reading is None else iso(reading.at),
        "request_count": None if reading is None else reading.finished,
        "request_rate": rounded(recent.request_rate),
        "avg_response_time": rounded(recent.response_time),
        "error_rate": rounded(recent.error_rate),
        "active_connections": None if reading is None else reading.in_flight,
        "cache_hit_rate": cache_hit_rate,
        "database_connections": None if reading is None else databases.in_use(reading),
        "redis_connections": redis_connections,
    }


def workers(reading: Reading | None, published: Published | None) -> dict[str, Any]:
    """Return how the processes do, and what waits for them; ages in seconds."""
    backlog = None if published is None else published.backlog
    if reading is None:
        return {**dict.fromkeys(_WORKERS), "accept_backlog": backlog, "each": None}
    live = reading.workers
    capacities = [worker.capacity for worker in live if worker.capacity is not None]
    ages = [worker.oldest_age for worker in live if worker.oldest_age is not None]
    return {
        "total": len(live),
        "busy": busy(reading),
        "draining": sum(worker.draining for worker in live),
        "capacity": sum(capacities) if live and len(capacities) == len(live) else None,
        "oldest_request_seconds": rounded(max(ages, default=None)),
        "lost_requests": reading.lost,
        "starts": reading.worker_starts,
        "deaths": reading.worker_deaths,
        "accept_backlog": backlog,
        "each": [_each(worker, reading) for worker in live],
    }


def _each(worker: Worker, reading: Reading) -> dict[str, Any]:
    return {
        "slot": worker.slot,
        "pid": worker.pid,
        "uptime_seconds": rounded(max(0.0, reading.at - worker.claimed)),
        "requests": worker.started,
        "in_flight": worker.in_flight,
        "beat_age_seconds": rounded(worker.beat_age),
        "draining": worker.draining,
    }


def saturation(
    reading: Reading | None, published: Published | None, queue_p95: float | None
) -> dict[str, Any]:
    """Return how near its limits the instance is; *queue_p95* in ms."""
    found = workers(reading, published)
    in_flight = None if reading is None else reading.in_flight
    return {
        "busy_share": _share(found["busy"], found["total"]),
        "in_flight_share": _share(in_flight, found["capacity"]),
        "accept_backlog": found["accept_backlog"],
        "queue_p95": queue_p95,
    }


def _share(part: int | None, whole: int | None) -> float | None:
    return rounded(part / whole) if part is not None and whole else None


_WORKERS: Final = (
    "total",
    "busy",
    "draining",
    "capacity",
    "oldest_request_seconds",
    "lost_requests",
    "starts",
    "deaths",
)


def busy(reading: Reading) -> int:
    """Return how many workers have a request in flight."""
    return sum(worker.in_flight > 0 for worker in reading.workers)


def iso(at: float) -> str:
    """Return a Unix time as ISO 8601 in UTC, to the millisecond, with a Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def rounded(value: float | None) -> float | None:
    """Return *value* with three decimals, which is more than it is exact to."""
    return None if value is None else round(value, 3)
