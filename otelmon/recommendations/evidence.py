"""All that recommendations look at: one immutable state of the instance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.metrics.history import SERIES
from otelmon.metrics.summary import UNKNOWN, Figures


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelmon.board import Number
    from otelmon.metrics.history import Point
    from otelmon.metrics.overflow import Overflow
    from otelmon.metrics.rows import Row
    from otelmon.recommendations.diary import Growth
    from otelmon.settings import Settings


PATIENCE_SECONDS: float = 300.0
"""With figures of less time nothing is said of load: at boot everything is unusual"""
WINDOW_SECONDS: Final = 900

_POSITIONS: Final = {name: position for position, name in enumerate(SERIES)}


class Server(NamedTuple):
    """What is known of the server, as it is configured: gunicorn's own words."""

    worker_class: str  # sync, gthread, gevent or another one's name
    workers: int
    threads: int
    timeout: float  # seconds; 0 for none


class Route(NamedTuple):
    """A route over the last 900 s; times in ms."""

    name: str
    """Method and template"""
    requests: int
    rate: float  # per second
    errors: int
    mean: float
    p95: float
    time_share: float
    """Of the time of all requests, 0 to 1"""
    at_least: bool
    """p95 is above the last bound, which stands there for it"""
    error_types: tuple[str, ...] = ()
    """Most frequent first, since the instance began"""


class Client(NamedTuple):
    """What clients were refused most often, since the instance began."""

    route: str
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """The instance at one moment, with what went before it."""

    settings: Settings
    seconds: float
    """For how long there are figures, 3600 at the most"""
    patience: float = PATIENCE_SECONDS
    host: Mapping[str, Number] = field(default_factory=dict)
    """The `system` figures by their names in `/api/metrics`, and the container's"""
    windows: Mapping[int, Figures] = field(default_factory=dict)
    """All requests of the last 60, 300 and 900 s"""
    routes: Sequence[Route] = ()
    """Most time first"""
    queue_p95: float | None = None
    """ms that requests waited to be begun, over the last 300 s"""
    points: Sequence[Point] = ()
    """The history, oldest first"""
    counts: Mapping[str, float] = field(default_factory=dict)
    """What was counted in the last 900 s, by the diary's names; of what is not known nothing"""
    workers: int = 0
    """Live ones"""
    memory: Mapping[int, int] = field(default_factory=dict)
    """Bytes of resident memory of each worker, by slot"""
    growth: Sequence[Growth] = ()
    """Of each worker that is old enough"""
    server: Server | None = None
    client_errors: Client | None = None
    measured: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """What is measured of databases and caches, by the instrument's name"""
    checks: int = 0
    """Health checks that are registered"""
    used: frozenset[str] = frozenset()
    """Variables of those the application may own that a part of otelmon uses"""
    overflows: Sequence[Overflow] = ()
    faults: Mapping[str, int] = field(default_factory=dict)
    """What failed in otelmon, by kind, and how often"""
    complete: bool = True
    """All processes count into the shared ledger"""
    interval: float = 10.0
    """Seconds between two points"""

    def window(self, seconds: int = WINDOW_SECONDS) -> Figures:
        """Return the figures of all requests of so many seconds."""
        return self.windows.get(seconds, UNKNOWN)

    def series(self, name: str, seconds: float = WINDOW_SECONDS) -> list[tuple[float, float]]:
        """Return what is known of a series of the history: seconds before now (negative), value."""
        if not self.points:
            return []
        now, position = self.points[-1].monotonic, _POSITIONS[name]
        found = (((each.monotonic - now) / 1e9, each.values[position]) for each in self.points)
        return [(at, value) for at, value in found if value is not None and at >= -seconds]

    def mean(self, name: str, seconds: float = WINDOW_SECONDS) -> float | None:
        """Return the mean of a series, None without values."""
        values = [value for _, value in self.series(name, seconds)]
        return sum(values) / len(values) if values else None

    def most(self, name: str, seconds: float = WINDOW_SECONDS) -> float | None:
        """Return the highest value of a series."""
        return max((value for _, value in self.series(name, seconds)), default=None)

    @property
    def busy(self) -> float | None:
        """Return the share of what can be served at once that was in use, over the last 300 s."""
        places = self.mean("capacity", 300)
        if places:
            in_use = self.mean("active_connections", 300)
        else:
            places, in_use = self.mean("workers_total", 300), self.mean("workers_busy", 300)
        return in_use / places if places and in_use is not None else None
