"""The figures of the last 60, 300 and 900 s, of all requests and by route. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otelmon.ledger.requests import QUEUE
from otelmon.metrics import figures
from otelmon.metrics.figures import rounded
from otelmon.metrics.past import RINGS
from otelmon.metrics.quantiles import quantile
from otelmon.metrics.snapshots import METHOD, NOTHING, ROUTE, Tally, together
from otelmon.metrics.summary import UNKNOWN, Recent, Shown, of_tally


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelmon.board import Published
    from otelmon.ledger.instrument import Series
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.past import Past, Span
    from otelmon.metrics.summary import Figures


MOST_ROUTES: Final = 50
OTHER: Final = "{other}"
"""Where the requests stand that are of none of the routes shown"""
_OF_ROUTES: Final = (60, 900)
_RANKED: Final = 900


def overall(span: Span | None) -> Figures:
    """Return the figures of all requests."""
    if span is None:
        return UNKNOWN
    return of_tally(span.after.total.since(span.before.total), span.seconds)


def queue_p95(span: Span | None) -> float | None:
    """Return within how many ms of waiting 95 % of requests were begun; None if none told."""
    waited = None if span is None else span.after.queue.since(span.before.queue)
    if waited is None:
        return None
    found = quantile(QUEUE.bounds, waited.buckets, 0.95).value
    return None if found is None else found * 1e3


def cache_hit_rate(span: Span | None) -> float | None:
    """Return the part of a window's look-ups in caches that found something; None without any."""
    found = None if span is None else span.after.lookups.since(span.before.lookups)
    return None if found is None else found.rate


# -- routes ---------------------------------------------------------------------------------------


def routes(spans: Mapping[int, Span | None], series: Sequence[Series]) -> list[dict[str, Any]]:
    """Return a row for each route, most time first, 50 at the most, and one for all others.

    Together they are all requests: what cannot be told of a route is among the others.
    """
    ranked = spans[_RANKED]
    if ranked is None or ranked.after.total.since(ranked.before.total) is None:
        return []
    numbers = _busiest(ranked, len(series))
    by_window = {seconds: _tallies(spans[seconds], numbers) for seconds in _OF_ROUTES}
    rows = []
    for number in (*numbers, None):
        found = {seconds: tallies[number] for seconds, tallies in by_window.items()}
        last = found[_RANKED]
        if number is None and (last is None or not last.requests):
            continue
        attributes = dict(series[number].attributes) if number is not None else {ROUTE: OTHER}
        rows.append(
            {
                "method": attributes.get(METHOD),
                "route": attributes[ROUTE],
                "windows": {
                    str(seconds): _shown(tally, spans[seconds]) for seconds, tally in found.items()
                },
            }
        )
    return rows


def _busiest(span: Span, known: int) -> list[int]:
    """Return the routes that took most time in a window, by their numbers."""
    took = {}
    for number, after in span.after.routes.items():
        before = _before(span, number)
        if number < known and before is not None and after.buckets != before.buckets:
            took[number] = after.duration - before.duration
    return sorted(took, key=lambda number: (-took[number], number))[:MOST_ROUTES]


def _before(span: Span, number: int) -> Tally | None:
    """Return what a route had at a window's begin: nothing if it was not there yet."""
    return span.before.routes.get(number, NOTHING if span.before.whole else None)


def _tallies(span: Span | None, numbers: Sequence[int]) -> dict[int | None, Tally | None]:
    """Return what was counted in a window, by route; None stands for all others."""
    if span is None:
        return dict.fromkeys((*numbers, None))
    found: dict[int | None, Tally | None] = {}
    for number in numbers:
        before, after = _before(span, number), span.after.routes.get(number)
        found[number] = None if before is None or after is None else after.since(before)
    in_all = span.after.total.since(span.before.total)
    named = together([each for each in found.values() if each is not None])
    found[None] = None if in_all is None else in_all.since(named)
    return found


def _shown(tally: Tally | None, span: Span | None) -> dict[str, Any]:
    if tally is None or span is None:
        return {**UNKNOWN.shown(), "time_share": None}
    in_all = span.after.total.duration - span.before.total.duration
    share = tally.duration / in_all if in_all > 0 else None
    return {**of_tally(tally, span.seconds).shown(), "time_share": rounded(share)}


# -- what the endpoints show ----------------------------------------------------------------------


def shown(past: Past | None, reading: Reading | None, published: Published | None) -> Shown:
    """Return windows, routes and queue time; unknown if the keeper is late.

    They are worked out once for each publication. *reading* is not older than *past*, so that it
    knows all routes.
    """
    if past is None or reading is None or published is None:
        return _NOTHING
    found = past.memo.shown
    if found is None:
        found = past.memo.shown = _worked_out(past, reading)
    return _NOTHING if _is_late(found.until, reading, published) else found


def recent(past: Past | None, reading: Reading | None, published: Published | None) -> Recent:
    """Return the windows of all requests alone, for a fraction of what `shown` costs."""
    if past is None or reading is None or published is None:
        return _NOTHING_RECENT
    found = past.memo.recent
    if found is None:
        spans = past.spans
        found = past.memo.recent = Recent(
            {seconds: overall(each) for seconds, each in spans.items()},
            queue_p95(spans[60]),
            _end(spans),
        )
    return _NOTHING_RECENT if _is_late(found.until, reading, published) else found


def _is_late(until: int | None, reading: Reading, published: Published) -> bool:
    return (
        until is None
        or figures.is_stale(reading, published)
        or figures.is_late(reading.monotonic - until, published.interval)
    )


def _worked_out(past: Past, reading: Reading) -> Shown:
    spans = past.spans
    return Shown(
        {str(seconds): overall(each).shown() for seconds, each in spans.items()},
        routes(spans, reading.series),
        rounded(queue_p95(spans[60])),
        rounded(cache_hit_rate(spans[300])),
        _end(spans),
    )


def _end(spans: Mapping[int, Span | None]) -> int | None:
    return next((each.after.monotonic for each in spans.values() if each is not None), None)


_NOTHING: Final = Shown({str(seconds): UNKNOWN.shown() for seconds in RINGS}, None, None, None)
_NOTHING_RECENT: Final = Recent(dict.fromkeys(RINGS, UNKNOWN), None)
