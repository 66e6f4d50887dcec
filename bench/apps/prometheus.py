"""What one would write with prometheus_client.

It counts into files that processes share where PROMETHEUS_MULTIPROC_DIR is set before the import.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, Histogram

from bench.apps.plain import PassThrough
from otelmon.ledger.requests import SECONDS


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


_registry = CollectorRegistry()
_histogram = Histogram(
    "http_request_duration_seconds",
    "Time of a request.",
    ["method", "route", "status"],
    registry=_registry,
    buckets=SECONDS,
)
_gauge = Gauge(
    "http_requests_active", "In flight.", registry=_registry, multiprocess_mode="livesum"
)


class PrometheusClient(PassThrough):
    """Counts requests in flight, and durations in one histogram."""

    __slots__ = ("_environ", "_started")

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        """Begin to measure."""
        _gauge.inc()
        self._environ = environ
        self._started = time.perf_counter()
        super().__init__(environ, start_response)

    def close(self) -> None:
        """Book the request."""
        environ = self._environ
        _histogram.labels(
            environ["REQUEST_METHOD"], environ["otelmon.route"], self.status[:3]
        ).observe(time.perf_counter() - self._started)
        _gauge.dec()


app = PrometheusClient
