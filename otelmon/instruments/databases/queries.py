"""Queries: how long each took, by what it does, and how it ended.

Names, attributes and bounds are those of the semantic conventions,
https://opentelemetry.io/docs/specs/semconv/db/database-metrics/#metric-dbclientoperationduration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.instruments.databases.statements import Statements
from otelmon.instruments.databases.tally import QUERIES
from otelmon.instruments.lookups import recorder
from otelmon.instruments.observing import Few


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

    Record = Callable[[float], object]


BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
SYSTEM: Final = "db.system.name"
OPERATION: Final = "db.operation.name"
ERROR: Final = "error.type"
_MOST_ERRORS: Final = 50

# What SQLAlchemy and Django call them, where the conventions do so otherwise.
_SYSTEMS: Final = {
    "oracle": "oracle.db",
    "mssql": "microsoft.sql_server",
    "microsoft": "microsoft.sql_server",
}
_QUOTE_TEXTS: Final = frozenset(("mysql", "mariadb"))


class Queries:
    """The instrument, and what a query is booked with."""

    def __init__(self, meter: Meter) -> None:
        """Create the instrument on *meter*."""
        self.duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Time that a database took for an operation.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
        self.errors = Few(_MOST_ERRORS)
        self._systems: dict[str, System] = {}

    def of(self, system: str) -> System:
        """Return what books the queries to one kind of database, by its dialect's name."""
        found = self._systems.get(system)
        return found or self._systems.setdefault(system, System(self, system))


class System:
    """Books the queries to one kind of database."""

    __slots__ = ("_name", "_of", "_records", "_statements")

    def __init__(self, of: Queries, name: str) -> None:
        """Book to *of*."""
        self._of = of
        self._name = _SYSTEMS.get(name, name)
        self._records: dict[str, Record] = {}
        self._statements = Statements(self._record, quotes_texts=name in _QUOTE_TEXTS)

    def book(self, sql: object, took: float) -> None:
        """Book a query of *took* seconds; whatever fails here is ours."""
        try:
            statement = self._statements[sql]
            statement.record(took)
            QUERIES.add(took, statement)
        except Exception as fault:  # noqa: BLE001 - the query is done; only the figure is lost
            faults.report("database_query", fault)

    def fail(self, sql: object, took: float, error: BaseException) -> None:
        """Book a query that raised *error* after *took* seconds."""
        try:
            statement = self._statements[sql]
            attributes = {
                SYSTEM: self._name,
                OPERATION: statement.operation,
                ERROR: self._of.errors(type(error).__qualname__),
            }
            self._of.duration.record(took, attributes)
            QUERIES.add(took, statement)
        except Exception as fault:  # noqa: BLE001 - as above
            faults.report("database_query", fault)

    def _record(self, operation: str) -> Record:
        attributes = {SYSTEM: self._name, OPERATION: operation}
        return self._records.setdefault(operation, recorder(self._of.duration, attributes))
