"""`/api/metrics`: all figures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otelmon.metrics import figures, processes, windows
from otelmon.views import own
from otelmon.views.measured import measured
from otelmon.views.response import as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.views.response import Response
    from otelmon.views.source import Source


def metrics(source: Source, _environ: WSGIEnvironment) -> Response:
    """Answer with everything that is known now."""
    # In this order: what the keeper remembers is named by series that a later reading knows.
    past = source.past()
    reading, published = source.reading(), source.published()
    recent = windows.shown(past, reading, published)
    return as_json(
        {
            "system": figures.system(published),
            "container": figures.container(published),
            "application": figures.application(reading, published),
            "windows": recent.windows,
            "routes": recent.routes,
            "workers": _workers(reading, published),
            "saturation": figures.saturation(reading, published, recent.queue_p95),
            "metrics": measured(reading),
            "alerts": [],
            "timestamp": figures.iso(time.time_ns() / 1e9),
            "otelmon": own.full(source, reading, published),
        }
    )


def _workers(reading: Reading | None, published: Published | None) -> dict[str, Any]:
    found = figures.workers(reading, published)
    if reading is None:
        return found
    own = processes.by_slot(reading)
    return {**found, "each": [{**each, **own[each["slot"]]} for each in found["each"]]}
