"""`/api/metrics/health`: how the instance does, in a few figures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otelmon import faults
from otelmon.checks import results
from otelmon.metrics import figures, standing
from otelmon.views.response import as_json


if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.board import Published
    from otelmon.checks.results import Result
    from otelmon.ledger.reader import Reading
    from otelmon.views.response import Response
    from otelmon.views.source import Source


def monitoring(source: Source, _environ: WSGIEnvironment) -> Response:
    """Answer always 200: this is for reading, not for load balancers."""
    return as_json(summary(source.reading(), source.published(), checked(source)))


def checked(source: Source) -> Sequence[Result]:
    """Return what the health checks came to, as of now."""
    found = source.checks()
    return () if found is None else found.as_of(time.monotonic_ns()).checks


def summary(
    reading: Reading | None, published: Published | None, checks: Sequence[Result]
) -> dict[str, Any]:
    """Return status, alerts, and the figures that tell most."""
    system = figures.system(published)
    recent = figures.current(reading, published)
    return {
        "status": results.status(figures.status(reading, published, faults.seen()), checks),
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
