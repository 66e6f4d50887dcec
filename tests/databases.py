"""Databases observed in this process, on a ledger of its own, and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from otelmon.instruments.databases import observing
from otelmon.ledger.ledger import Ledger
from otelmon.metrics import databases, rows
from otelmon.metrics.api.provider import MeterProvider
from otelmon.views import pools, queries


if TYPE_CHECKING:
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.rows import Row


POOL = "db.client.connection.pool.name"


class Databases:
    """A context manager: observes while it is entered."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.provider = MeterProvider(self.ledger)

    def __enter__(self) -> Self:
        self.ledger.serve_alone()
        observing.observe_databases(self.provider, self.ledger)
        return self

    def __exit__(self, *_: object) -> None:
        observing.rest()
        self.ledger.close()

    def reading(self) -> Reading:
        """Return what was recorded."""
        reading = self.ledger.read()
        assert reading is not None
        return reading

    def rows(self, name: str) -> list[Row]:
        """Return the rows of an instrument."""
        found = rows.of_ledger(self.reading())
        return [row for row in found if row.instrument.name == name]

    def by(self, name: str, *attributes: str) -> dict[tuple[object, ...], float]:
        """Return values, of histograms how often, by the values of some attributes."""
        found: dict[tuple[object, ...], float] = {}
        for row in self.rows(name):
            key = tuple(dict(row.attributes).get(each) for each in attributes)
            found[key] = found.get(key, 0) + (row.count if row.buckets else row.value)
        return found

    def operations(self) -> dict[tuple[object, ...], float]:
        """Return how many queries there were, by operation and error."""
        return self.by("db.client.operation.duration", "db.operation.name", "error.type")

    def in_use(self) -> int | None:
        """Return the connections in use."""
        return databases.in_use(self.reading())

    def pool(self, name: str) -> dict[str, Any]:
        """Return what the JSON shows of a pool."""
        (found,) = [
            each
            for each in pools.shown(databases.of_databases(self.reading()))
            if each["name"] == name
        ]
        return found

    def routes(self) -> dict[str, dict[str, Any]]:
        """Return what the JSON shows of requests, by route."""
        return {
            each["route"]: each
            for each in queries.shown(databases.of_databases(self.reading()))["routes"]
        }
