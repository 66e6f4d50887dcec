"""`/api/metrics`: all figures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otelmon.metrics import figures
from otelmon.views import own
from otelmon.views.measured import measured
from otelmon.views.response import as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.views.response import Response
    from otelmon.views.source import Source


def metrics(source: Source, _environ: WSGIEnvironment) -> Response:
    """Answer with everything that is known now."""
    reading, published = source.reading(), source.published()
    return as_json(
        {
            "system": figures.system(published),
            "container": figures.container(published),
            "application": figures.application(reading, published),
            "workers": figures.workers(reading, published),
            "metrics": measured(reading),
            "alerts": [],
            "timestamp": figures.iso(time.time_ns() / 1e9),
            "otelmon": own.full(source, reading, published),
        }
    )
