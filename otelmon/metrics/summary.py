"""What a number of requests comes to: rate, errors, mean and percentiles."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.ledger.requests import DURATION
from otelmon.metrics.figures import rounded
from otelmon.metrics.quantiles import quantile


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelmon.metrics.snapshots import Tally


_SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Figures:
    """What requests come to in a window; None where not known. Times of requests in ms."""

    seconds: float | None
    """How long the window is"""
    count: int | None
    rate: float | None  # per second
    errors: int | None
    error_rate: float | None  # percent
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    at_least: tuple[str, ...] = ()
    """Percentiles above the last bound, which stands there for them"""

    def shown(self) -> dict[str, Any]:
        """Return them by name, rounded."""
        values = {name: getattr(self, name) for name in _FIELDS}
        return {
            name: rounded(value) if isinstance(value, float) else value
            for name, value in values.items()
        }


_FIELDS: Final = [field.name for field in fields(Figures)]
UNKNOWN: Final = Figures(*(None,) * 9)


def of_tally(tally: Tally | None, seconds: float) -> Figures:
    """Return the figures of what was counted in so many seconds; unknown if counts fell."""
    if tally is None:
        return UNKNOWN
    count = tally.requests
    found = {
        name: quantile(DURATION.bounds, tally.buckets, share) for name, share in _SHARES.items()
    }
    ms = {name: None if at.value is None else at.value * 1e3 for name, at in found.items()}
    return Figures(
        seconds=seconds,
        count=count,
        rate=count / seconds,
        errors=tally.errors,
        # Counts are not read at one moment.
        error_rate=min(100.0, 100 * tally.errors / count) if count else None,
        mean=tally.duration / count / 1e6 if count else None,
        **ms,
        at_least=tuple(name for name, at in found.items() if at.at_least),
    )


class Recent(NamedTuple):
    """The windows of all requests."""

    windows: Mapping[int, Figures]
    """By their seconds"""
    queue_p95: float | None  # ms
    until: int | None = None
    """Monotonic ns of their end; None if nothing is known"""


class Shown(NamedTuple):
    """What is shown of the windows."""

    windows: Mapping[str, Mapping[str, Any]]
    routes: Sequence[Mapping[str, Any]] | None
    queue_p95: float | None  # ms
    cache_hit_rate: float | None
    """Fraction, over 300 s"""
    until: int | None = None
    """Monotonic ns of their end; None if there is nothing to show"""
