"""The evidence out of what the keeper has: a reading, the board, the past."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.instruments.databases.limits import LIMIT
from otelmon.ledger.reader import of_instrument
from otelmon.ledger.requests import DURATION
from otelmon.metrics import caches, rows, windows
from otelmon.metrics.figures import ERROR_TYPE
from otelmon.metrics.rows import Row
from otelmon.metrics.snapshots import METHOD, ROUTE
from otelmon.recommendations import n_plus_one, pool_exhausted, unknown_clients
from otelmon.recommendations.diary import Entry
from otelmon.recommendations.evidence import WINDOW_SECONDS, Client, Route
from otelmon.recommendations.unmatched_routes import UNMATCHED


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.past import Span


_STATUS: Final = "http.response.status_code"
_NOT_THERE: Final = ("404", "405")
_NAMES: Final = frozenset(
    (
        pool_exhausted.COUNT,
        pool_exhausted.MAX,
        pool_exhausted.TIMEOUTS,
        pool_exhausted.WAIT,
        LIMIT,
        n_plus_one.QUERIES,
        n_plus_one.REPEATED,
        unknown_clients.REQUESTS,
    )
)
_CONTAINER: Final = {
    "cpu_periods": "container_cpu_periods",
    "cpu_throttled_periods": "container_cpu_throttled_periods",
    "oom_kills": "container_oom_kills",
}

Measured = dict[str, list[Row]]
Kind = tuple[object, object]


class Answered(NamedTuple):
    """What requests came to since the instance began."""

    client_errors: int
    unmatched: int
    """Without a route, and not because there was none to match"""
    top: Client | None
    errors: Mapping[Kind, Counter[str]]
    """By method and route: the types of errors"""


def answered(reading: Reading) -> Answered:
    """Count requests by what they came to."""
    refused, unmatched = Counter[Client](), 0
    errors: defaultdict[Kind, Counter[str]] = defaultdict(Counter)
    for series in of_instrument(reading.series, DURATION):
        times = sum(series.buckets(reading.lanes))
        found = dict(series.attributes)
        status, route = str(found.get(_STATUS)), found.get(ROUTE)
        if times and status.startswith("4"):
            refused[Client(_name(found.get(METHOD), route), status)] += times
        if route == UNMATCHED and status not in _NOT_THERE:
            unmatched += times
        if times and ERROR_TYPE in found:
            errors[found.get(METHOD), route][str(found[ERROR_TYPE])] += times
    top = refused.most_common(1)
    return Answered(sum(refused.values()), unmatched, top[0][0] if top else None, errors)


def measured(reading: Reading) -> Measured:
    """Return what is measured of databases and caches, by instrument.

    Of what goes up and down each process's own, since a pool is full by itself.
    """
    ours = [each for each in reading.series if each.instrument.name in _NAMES]
    added = tuple(each for each in ours if each.instrument.merge == "add")
    found: Measured = {}
    for row in rows.of_ledger(replace(reading, series=added)):
        found.setdefault(row.instrument.name, []).append(row)
    for series in ours:
        for slot, value in (
            reading.values.get(series.base, {}).items() if series not in added else ()
        ):
            row = Row(series.instrument, series.attributes, value, worker=slot)
            found.setdefault(series.instrument.name, []).append(row)
    return found


def entry(
    reading: Reading,
    published: Published,
    requests: Answered,
    known: Measured,
    memory: Mapping[int, int],
) -> Entry:
    """Return what the diary would note now; *memory* is bytes by process id."""
    counts: dict[str, float | None] = {
        "requests": reading.finished,
        "lost": reading.lost,
        "client_errors": requests.client_errors,
        "unmatched": requests.unmatched,
        **{name: published.host.get(field) for name, field in _CONTAINER.items()},
    }
    looked_up = caches.looked_up(reading)
    counts["cache_hits"], counts["cache_misses"] = looked_up.hits, looked_up.misses
    counts["n_plus_one"] = sum(row.value for row in known.get(n_plus_one.REPEATED, ()))
    counts["pool_timeouts"] = sum(row.value for row in known.get(pool_exhausted.TIMEOUTS, ()))
    counts["unknown_clients"] = sum(
        row.value
        for row in known.get(unknown_clients.REQUESTS, ())
        if dict(row.attributes).get(unknown_clients.OUTCOME) == unknown_clients.UNKNOWN
    )
    pushed = published.push or {}
    counts["pushes"], counts["push_failures"] = pushed.get("pushes"), pushed.get("failures")
    return Entry(
        reading.monotonic,
        {name: value for name, value in counts.items() if value is not None},
        {
            str(each.slot): (each.pid, memory[each.pid])
            for each in reading.workers
            if each.pid in memory
        },
    )


def routes(
    spans: Mapping[int, Span | None], reading: Reading, errors: Mapping[Kind, Counter[str]]
) -> list[Route]:
    """Return the routes of the last 900 s, most time first."""
    found = windows.routes(spans, reading.series)
    return [_route(row, errors) for row in found if row["windows"][str(WINDOW_SECONDS)]["count"]]


def _route(row: Mapping[str, Any], errors: Mapping[Kind, Counter[str]]) -> Route:
    figures = row["windows"][str(WINDOW_SECONDS)]
    kinds = errors.get((row["method"], row["route"]), Counter())
    return Route(
        name=_name(row["method"], row["route"]),
        requests=figures["count"],
        rate=figures["rate"],
        errors=figures["errors"],
        mean=figures["mean"],
        p95=figures["p95"],
        time_share=figures["time_share"] or 0.0,
        at_least="p95" in figures["at_least"],
        error_types=tuple(kind for kind, _ in kinds.most_common(3)),
    )


def _name(method: object, route: object) -> str:
    return f"{method} {route}" if method else str(route)


def queue_p95(spans: Mapping[int, Span | None]) -> float | None:
    """Return p95 of what requests waited in the last 300 s, in ms."""
    return windows.queue_p95(spans[300])


def overall(spans: Mapping[int, Span | None]) -> dict[int, Any]:
    """Return the figures of all windows."""
    return {seconds: windows.overall(span) for seconds, span in spans.items()}


def lasted(points: Sequence[Any]) -> float:
    """Return for how many seconds there are points."""
    return (points[-1].monotonic - points[0].monotonic) / 1e9 if points else 0.0
