"""A process that measures through the OpenTelemetry API, in miniature: a ledger and a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelmon.ledger.ledger import Ledger
from otelmon.metrics import rows
from otelmon.metrics.api.provider import MeterProvider


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opentelemetry.metrics import Meter

    from otelmon.ledger.identity import Identity
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.api.view import View
    from otelmon.metrics.rows import Row


class Metered:
    """What a worker does with instruments; without a place it counts in memory of its own."""

    def __init__(
        self,
        place: Path | None = None,
        instance: Identity | None = None,
        *,
        views: Sequence[View] = (),
        serving: bool = True,
        **limits: int,
    ) -> None:
        """Serve, unless told to be early."""
        self.ledger = Ledger(**limits)
        self.provider = MeterProvider(self.ledger, views=views)
        if serving:
            self.serve(place, instance)

    def serve(self, place: Path | None = None, instance: Identity | None = None) -> None:
        """Begin to serve."""
        if place is None or instance is None:
            self.ledger.serve_alone()
        else:
            self.ledger.serve(place, instance)

    def forget(self) -> None:
        """Be as new, as a forked child."""
        self.ledger.forget()
        self.provider.forget()

    @property
    def meter(self) -> Meter:
        """Return the meter of a shop."""
        return self.provider.get_meter("shop")

    def read(self) -> Reading:
        """Read the whole instance."""
        reading = self.ledger.read()
        assert reading is not None
        return reading

    def rows(self, name: str) -> list[Row]:
        """Return what is shown of an instrument."""
        return [row for row in rows.of_ledger(self.read()) if row.instrument.name == name]

    def shown(self, name: str) -> dict[Any, Any]:
        """Return an instrument's figures by attributes, and by worker where each has its own.

        Of a histogram that is (buckets, sum).
        """
        found: dict[Any, Any] = {}
        for row in self.rows(name):
            key = row.attributes if row.worker is None else (row.attributes, row.worker)
            assert key not in found
            found[key] = (row.buckets, row.value) if row.buckets else row.value
        return found

    def figure(self, name: str) -> float | None:
        """Return the only figure of an instrument; None if it has none."""
        found = self.rows(name)
        assert len(found) <= 1, found
        return found[0].value if found else None
