"""`/api/metrics/recommendations`: what could be done better."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otelmon.views.response import as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.views.response import Response
    from otelmon.views.source import Source


def recommendations(_source: Source, _environ: WSGIEnvironment) -> Response:
    """Answer with sentences, the same as structured items, and a Unix time in whole seconds."""
    return as_json(
        {"recommendations": [], "timestamp": time.time_ns() // 1_000_000_000, "items": []}
    )
