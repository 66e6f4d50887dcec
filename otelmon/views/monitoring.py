"""`/api/metrics/health`: how the instance does, in a few figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelmon import faults
from otelmon.metrics import figures, standing
from otelmon.views.response import as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.views.response import Response
    from otelmon.views.source import Source


def monitoring(source: Source, _environ: WSGIEnvironment) -> Response:
    """Answer always 200: this is for reading, not for load balancers."""
    return as_json(summary(source.reading(), source.published()))


def summary(reading: Reading | None, published: Published | None) -> dict[str, Any]:
    """Return status, alerts, and the figures that tell most."""
    system = figures.system(published)
    recent = figures.current(reading, published)
    return {
        "status": figures.status(reading, published, faults.seen()),
        "alerts": standing.counts(published, reading),
        "alerts_state": standing.known(published, reading),
        "system": {
            name: system[name] for name in ("cpu_percent", "memory_percent", "disk_percent")
        },
        "application": {
            "request_rate": figures.rounded(recent.request_rate),
            "error_rate": figures.rounded(recent.error_rate),
            "avg_response_time_ms": figures.rounded(recent.response_time),
        },
    }
