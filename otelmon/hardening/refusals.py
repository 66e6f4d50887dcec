"""Counts what a part refuses; the instruments are made when something is first refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.stack import on_own_meter


if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Meter


BODIES: Final = "otelmon.body_limit.refusals"
REASON: Final = "otelmon.body_limit.reason"
DECLARED: Final = "declared"
"""Content-Length says more than may come"""
RECEIVED: Final = "received"
"""more came than may"""
MALFORMED: Final = "malformed"
"""Content-Length is no length"""


def refused(reason: str) -> None:
    """Count a request whose body was refused, for one of the reasons above."""
    try:
        on_own_meter(_counter).add(1, {REASON: reason})
    except Exception as error:  # noqa: BLE001 - the client gets its answer without a figure
        faults.report("body_limit", error)


def _counter(meter: Meter) -> Counter:
    return meter.create_counter(
        BODIES, "{request}", "Requests refused for their body, by the reason."
    )
