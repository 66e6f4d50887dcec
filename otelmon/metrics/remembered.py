"""What is remembered of a moment for those that come: the windows' snapshot and the history's point."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from otelmon import board
from otelmon.metrics import caches, figures, history, past, windows
from otelmon.metrics.snapshots import snapshot


if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.ledger.segment import Segment
    from otelmon.metrics.history import Point
    from otelmon.metrics.past import Span


class Remembered(NamedTuple):
    """What the keeper has remembered of a moment; None where it could not."""

    spans: Mapping[int, Span | None] = MappingProxyType({})
    """The windows that end with it, by their seconds"""
    point: Point | None = None


def remember(segment: Segment, reading: Reading, published: Published) -> Remembered:
    """Keep what windows and history need, and return it; it is seen once *published* is.

    Raises:
        LedgerError, OSError: there is no space.
    """
    number, interval = board.newest(segment) + 1, published.interval
    taken = snapshot(reading)
    past.keep_snapshot(segment, number, taken, interval)
    spans = {seconds: past.span(segment, taken, seconds) for seconds in past.RINGS}
    now = history.Now(
        reading,
        published.host,
        windows.overall(spans[60]),
        windows.queue_p95(spans[60]),
        figures.workers(reading, published),
        cache_hit_rate=windows.cache_hit_rate(spans[300]),
        redis_connections=caches.connections(reading),
    )
    row = history.point(now, published.at, interval)
    past.keep_point(segment, number, row)
    return Remembered(spans, row)
