"""`/api/metrics`: all figures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otelmon.alerts import showing
from otelmon.metrics import caches, figures, processes, standing, windows
from otelmon.metrics.databases import of_databases
from otelmon.views import own, pools, queries
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
    labels = {} if published is None else published.labels
    recent = windows.shown(past, reading, published)
    databases = of_databases(reading)
    return as_json(
        {
            "system": figures.system(published),
            "container": figures.container(published),
            "application": figures.application(
                reading,
                published,
                cache_hit_rate=recent.cache_hit_rate,
                redis_connections=caches.connections(reading),
            ),
            "windows": recent.windows,
            "routes": recent.routes,
            "pools": pools.shown(databases),
            "queries": queries.shown(databases),
            "workers": _workers(reading, published),
            "saturation": figures.saturation(reading, published, recent.queue_p95),
            "caches": caches.caches(reading),
            "redis": caches.redis(reading),
            "metrics": measured(reading),
            "alerts": [showing.shown(each, labels) for each in standing.active(published, reading)],
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
