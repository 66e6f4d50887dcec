"""The libraries that are observed unasked, from their import on: redis-py and caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon import faults
from otelmon.instruments.caches import CACHES
from otelmon.instruments.lookups import LookUps
from otelmon.instruments.observing import Observing
from otelmon.instruments.redis_clients import CLIENTS


if TYPE_CHECKING:
    from opentelemetry.metrics import Meter


def observe_libraries(meter: Meter) -> Observing:
    """Measure them on *meter* until the result is closed; it raises nothing."""
    open_now: list[Observing] = []
    try:
        lookups = LookUps(meter)
        open_now += [CLIENTS.observe(meter, lookups), CACHES.observe(lookups)]
    except Exception as error:  # noqa: BLE001 - the requests are worth observing without them
        faults.report("library_hook", error)

    def end() -> None:
        for each in open_now:
            each.close()

    return Observing(end)
