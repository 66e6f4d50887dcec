"""The families of the last 60, 300 and 900 s, of all requests; by route Prometheus has the histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from otelmon.metrics.names import label_text


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otelmon.metrics.summary import Figures, Recent

    Values = Iterator[tuple[bytes, float | None]]


@dataclass(frozen=True, slots=True)
class Windowed:
    """A gauge of each window; *samples* yields its values by labels, None where one is not known."""

    name: str
    about: str
    samples: Callable[[Recent], Values]
    kind: Literal["gauge"] = "gauge"


def _of_each(read: Callable[[Figures], float | None]) -> Callable[[Recent], Values]:
    def values(recent: Recent) -> Values:
        for seconds, figures in recent.windows.items():
            yield label_text([("window", str(seconds))]), read(figures)

    return values


def _percentiles(recent: Recent) -> Values:
    for seconds, figures in recent.windows.items():
        for percentile in ("50", "95", "99"):
            labels = label_text([("window", str(seconds)), ("percentile", percentile)])
            yield labels, _seconds(getattr(figures, f"p{percentile}"))


def _queue(recent: Recent) -> Values:
    yield b'window="60",percentile="95"', _seconds(recent.queue_p95)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1e3


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


WINDOWS: Final = (
    Windowed(
        "otelmon_window_requests_per_second",
        "Requests finished per second, by the window's length in seconds.",
        _of_each(lambda figures: figures.rate),
    ),
    Windowed(
        "otelmon_window_error_ratio",
        "Share of the requests that were errors.",
        _of_each(lambda figures: _ratio(figures.error_rate)),
    ),
    Windowed(
        "otelmon_window_duration_mean_seconds",
        "Mean duration of the requests.",
        _of_each(lambda figures: _seconds(figures.mean)),
    ),
    Windowed(
        "otelmon_window_duration_seconds",
        "Duration within which so many percent of the requests were finished.",
        _percentiles,
    ),
    Windowed(
        "otelmon_window_queue_seconds",
        "Time within which so many percent of the requests were begun, once the proxy had them.",
        _queue,
    ),
)
