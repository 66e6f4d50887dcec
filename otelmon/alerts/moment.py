"""One moment of the instance: all that rules may look at, and what they may find."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.errors import OtelmonError
from otelmon.metrics import rows


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from otelmon.board import Number
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.past import Span
    from otelmon.metrics.rows import Row


_SECOND: Final = 1_000_000_000


class Measured(NamedTuple):
    """A figure that needs no window of the rule's."""

    value: float
    samples: int = 1
    """How many collections, requests or look-ups it is made of"""
    bad: int | None = None
    """How many of them were bad, where that is counted"""


class Growing(NamedTuple):
    """Two totals that only grow; the figure is the growth of one by that of the other."""

    part: float
    whole: float
    """Its growth over the window is the number of samples"""
    known: bool = True
    """False before there is a series: it begins with 0 then, but a 0 was not measured"""


Figure = Measured | Growing | float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """All that is known of the instance at one moment; rules only read it."""

    at: float  # Unix time
    monotonic: int  # ns
    interval: float  # seconds between two moments
    reading: Reading
    host: Mapping[str, Number]
    """The `system` figures by their names in `/api/metrics`"""
    figures: Mapping[str, Number]
    """The series of `/api/metrics/history` by their names, as of now"""
    spans: Mapping[int, Span | None] = field(default_factory=dict)
    """The last 60, 300 and 900 s of requests"""
    gap: float | None = None
    """Seconds since the moment before this one, whichever process saw it"""
    disk_full_hours: float | None = None
    """Until the disk is full at the rate of the last hour"""
    worker_growth: float | None = None
    """MB an hour by which at least half of the workers grow"""

    def metric(
        self, name: str, aggregation: str = "sum", *, where: Mapping[str, object] | None = None
    ) -> Figure:
        """Return what the series of an OpenTelemetry instrument come to; None if there are none.

        *aggregation* and *where* are those of a Rule.
        """
        found = [row for row in rows.of_ledger(self.reading, name=name) if _has(row, where or {})]
        if aggregation == "rate":
            total = math.fsum(row.count if row.buckets else row.value for row in found)
            return Growing(total, self.monotonic / _SECOND, known=bool(found))
        if aggregation == "average":
            if not all(row.buckets for row in found):
                raise OtelmonError(f"{name!r} is no histogram: an average is of one.")
            total = math.fsum(row.value for row in found)
            return Growing(total, sum(row.count for row in found), known=bool(found))
        if not found:
            return None
        if any(row.buckets for row in found):
            raise OtelmonError(f"{name!r} is a histogram: give rate or average as aggregation.")
        return _AGGREGATIONS[aggregation]([row.value for row in found])


def _has(row: Row, where: Mapping[str, object]) -> bool:
    attributes = dict(row.attributes)
    return all(key in attributes and attributes[key] == value for key, value in where.items())


_AGGREGATIONS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "sum": math.fsum,
    "mean": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
}
