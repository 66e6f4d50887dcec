"""A ledger of this process's own, and what is counted on a meter of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import faults
from otelmon.instruments.libraries import observe_libraries
from otelmon.instruments.observing import SCOPE
from otelmon.ledger.ledger import Ledger
from otelmon.metrics import rows
from otelmon.metrics.api.provider import MeterProvider


if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelmon.ledger.reader import Reading


class Counting:
    """What was counted."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.ledger = Ledger()
        self.ledger.serve_alone()
        self.provider = MeterProvider(self.ledger)
        self.meter = self.provider.get_meter(SCOPE)

    def reading(self) -> Reading:
        """Return all of it."""
        found = self.ledger.read()
        assert found is not None
        return found

    def by(self, name: str, *attributes: str, **wanted: str) -> dict[Any, float]:
        """Return an instrument's values, of histograms how often, by the values of *attributes*.

        Only of series with all the attributes *wanted*, whose names are written with _ for dots.
        """
        found: dict[Any, float] = {}
        for row in rows.of_ledger(self.reading()):
            had = dict(row.attributes)
            shown = {key.replace(".", "_"): value for key, value in had.items()}
            if row.instrument.name == name and wanted.items() <= shown.items():
                values = tuple(had.get(each) for each in attributes)
                key = values[0] if len(values) == 1 else values
                found[key] = found.get(key, 0) + (row.count if row.buckets else row.value)
        return found


@contextlib.contextmanager
def counting() -> Iterator[Counting]:
    """Observe this process's libraries meanwhile; nothing may fail in it."""
    faults.forget()
    found = Counting()
    with observe_libraries(found.meter):
        yield found
    found.ledger.close()
    assert faults.seen() == {}


@pytest.fixture(name="count", autouse=True)
def counted_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    """Have what caches measure counted here, for each test of a module that imports this."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    # A busy machine is no reason for a value not to be there in time.
    monkeypatch.setattr("otelmon.caches.look_up._PATIENCE", 20.0)
    with counting() as count:
        monkeypatch.setattr("otelmon.stack.meter_provider", lambda: count.provider)
        yield count
