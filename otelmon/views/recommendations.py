"""`/api/metrics/recommendations`: what could be done better."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from otelmon.metrics import figures
from otelmon.recommendations.advice import MOST, NOTHING, late, unchecked
from otelmon.views.response import as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.recommendations.advice import Advice
    from otelmon.views.response import Response
    from otelmon.views.source import Source


def recommendations(source: Source, environ: WSGIEnvironment) -> Response:
    """Answer with sentences, the same as structured items, and a Unix time in whole seconds.

    Ten at the most, worst first. `?all` has every item, and in `checked` each recommendation with
    its status. What a keeper that is late said is no longer about now.
    """
    now = _now(source)
    everything = "all" in parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    items = now.made if everything else now.made[:MOST]
    said: dict[str, Any] = {
        "recommendations": [each["message"] for each in items],
        "timestamp": time.time_ns() // 1_000_000_000,
        "items": items,
    }
    if everything:
        said["checked"] = now.checked or unchecked()
    return as_json(said)


def _now(source: Source) -> Advice:
    reading, published = source.reading(), source.published()
    age = figures.keeper_age(reading, published)
    if age is not None and figures.is_stale(reading, published):
        return late(age)
    return source.advice() or NOTHING
