"""What one request asks of databases: how many queries, how long, and which of them repeatedly."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon import faults
from otelmon.instruments.lookups import recorder
from otelmon.instruments.observing import Few
from otelmon.ledger.requests import SECONDS


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

    from otelmon.instruments.databases.statements import Statement

    Route = tuple[tuple[str, Any], ...]


REPEATED: Final = 10
"""So many times the same statement in one request are taken for a query for each row of another:
https://docs.sqlalchemy.org/en/20/glossary.html#term-N-plus-one-problem"""

QUERY_BOUNDS: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
# A bound just below REPEATED, so that the buckets tell how many requests reached it.
REPEAT_BOUNDS: Final = (1.0, 2.0, 4.0, 9.0, 19.0, 49.0, 99.0, 499.0, 999.0)
QUERY_TEXT: Final = "db.query.text"
_MOST_TEXTS: Final = 100
_MOST_TOLD_APART: Final = 1000
_MOST_ROUTES: Final = 5000


class Tally:
    """What was asked for since a request began."""

    __slots__ = ("beyond", "repeats", "seconds")

    def __init__(self) -> None:
        """Have counted nothing."""
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.seconds = 0.0
        self.repeats: dict[Statement, int] = {}
        self.beyond = 0
        """Queries of statements that are not told apart any more"""

    def queries(self) -> int:
        """Return how many there were."""
        return sum(self.repeats.values()) + self.beyond


class OfRoute(NamedTuple):
    """What records the requests of one route."""

    attributes: dict[str, Any]
    queries: Callable[[float], object]
    seconds: Callable[[float], object]
    repeats: Callable[[float], object]


_current: Final[ContextVar[Tally | None]] = ContextVar("otelmon_queries", default=None)


class RequestQueries:
    """The instruments of what requests ask for; without a meter there are none.

    A request is what runs in one context: a thread's, a greenlet's, or a copy of it. What it has
    done by other threads is of no request.
    """

    def __init__(self) -> None:
        """Be off: a request then pays for one look at `on`."""
        self.on = False
        self._wanted = self._expected = False
        self._routes: dict[Route, OfRoute] = {}

    def observe(self, meter: Meter) -> None:
        """Create the instruments on *meter*; be on as soon as queries are expected, or come."""
        self._queries = meter.create_histogram(
            "otelmon.http.server.queries",
            unit="{query}",
            description="Database queries of a request.",
            explicit_bucket_boundaries_advisory=QUERY_BOUNDS,
        )
        self._time = meter.create_histogram(
            "otelmon.http.server.query.duration",
            unit="s",
            description="Time that a request spent in database queries, of requests with any.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._repeats = meter.create_histogram(
            "otelmon.http.server.query.repeats",
            unit="{query}",
            description="How often a request ran the statement that it ran most often.",
            explicit_bucket_boundaries_advisory=REPEAT_BOUNDS,
        )
        self._n_plus_one = meter.create_counter(
            "otelmon.http.server.n_plus_one",
            unit="{request}",
            description=f"Requests that ran one statement {REPEATED} times or more.",
        )
        self._shown = Few(_MOST_TEXTS)
        self._routes = {}
        self._wanted = True
        self.on = self.on or self._expected

    def expect(self) -> None:
        """Expect queries from now on, so that requests before the first one are counted too."""
        self._expected = True
        self.on = self._wanted

    def rest(self) -> None:
        """Be off, and let go of what was recorded to."""
        self.on = self._wanted = False
        self._routes = {}

    def begin(self) -> None:
        """Count for a new request in this context."""
        tally = _current.get()
        if tally is None:
            _current.set(Tally())
        elif tally.repeats:
            tally.clear()

    def add(self, took: float, statement: Statement) -> None:
        """Count a query of *took* seconds in this context."""
        tally = _current.get()
        if tally is None or not self.on:
            tally = Tally()
            _current.set(tally)
            self.on = self._wanted
        tally.seconds += took
        repeats = tally.repeats
        if statement in repeats:
            repeats[statement] += 1
        elif len(repeats) < _MOST_TOLD_APART:
            # What runs outside of all requests never begins anew.
            repeats[statement] = 1
        else:
            tally.beyond += 1

    def end(self, route: Route) -> None:
        """Book what the request in this context has asked for, by its method and *route*."""
        try:
            self._book(_current.get(), self._routes.get(route) or self._named(route))
        except Exception as error:  # noqa: BLE001 - the request is done; only the figure is lost
            faults.report("request_queries", error)

    def _named(self, route: Route) -> OfRoute:
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        instruments = self._queries, self._time, self._repeats
        attributes = dict(route)
        found = OfRoute(attributes, *(recorder(each, attributes) for each in instruments))
        return self._routes.setdefault(route, found)

    def _book(self, tally: Tally | None, of: OfRoute) -> None:
        if tally is None or not tally.repeats:
            of.queries(0)
            return
        of.queries(tally.queries())
        of.seconds(tally.seconds)
        statement = max(tally.repeats, key=tally.repeats.__getitem__)
        times = tally.repeats[statement]
        of.repeats(times)
        if times >= REPEATED:
            self._n_plus_one.add(1, {**of.attributes, QUERY_TEXT: self._shown(statement.shown)})
        tally.clear()


QUERIES: Final = RequestQueries()
"""This process's"""
