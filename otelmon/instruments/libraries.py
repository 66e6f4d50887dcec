"""The libraries that are observed unasked, from their import on: redis-py and caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon import faults
from otelmon.instruments.caches import CACHES
from otelmon.instruments.lookups import LookUps
from otelmon.instruments.observing import Observing
from otelmon.instruments.redis_clients import CLIENTS


if TYPE_CHECKING:
    from collections.abc import Container

    from opentelemetry.metrics import Meter


def observe_libraries(meter: Meter, *, off: Container[str] = ()) -> Observing:
    """Measure them on *meter* until the result is closed, but those that are *off*; it never raises."""
    open_now: list[Observing] = []
    try:
        lookups = LookUps(meter)
        if "redis" not in off:
            open_now.append(CLIENTS.observe(meter, lookups))
        if "caches" not in off:
            open_now.append(CACHES.observe(lookups))
    except Exception as error:  # noqa: BLE001 - the requests are worth observing without them
        faults.report("library_hook", error)

    def end() -> None:
        for each in open_now:
            each.close()

    return Observing(end)
