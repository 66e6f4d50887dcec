"""`/health`: how the instance does, for people, scripts and load balancers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otelmon.metrics import figures
from otelmon.views import own
from otelmon.views.auth import admits
from otelmon.views.monitoring import summary
from otelmon.views.response import as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.views.response import Response
    from otelmon.views.source import Source


def health(source: Source, environ: WSGIEnvironment) -> Response:
    """Answer everybody; whoever does not send the token learns only how it stands."""
    reading, published = source.reading(), source.published()
    monitoring = summary(reading, published)
    status = {
        "status": monitoring["status"],
        "timestamp": figures.iso(time.time_ns() / 1e9),
    }
    if not admits(environ, source.settings.token):
        return as_json(status)
    return as_json(
        {
            **status,
            "version": source.settings.service_version,
            "services": {},
            "monitoring": monitoring,
            "otelmon": own.brief(source, reading, published),
        }
    )
