"""An application that measures with prometheus_client in its multiprocess mode, and wants to move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

from otelmon import monitor
from tests.apps.answers import tagged


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


orders = Counter("legacy_orders", "Orders as they were counted before.", ["kind"])
waits = Histogram("legacy_wait_seconds", "Waits.", buckets=(0.1, 1.0))
mine = Counter("app_requests", "A name that is otelmon's.")


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Measure as before."""
    orders.labels("web").inc()
    waits.observe(0.5)
    mine.inc(1000)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


app = tagged(monitor(application))
