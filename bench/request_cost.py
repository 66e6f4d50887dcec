"""What measuring adds to a request, beside what others add: calls without a server.

`pass-through` only sees the status and the end of the body: less cannot be had in Python. `probe`
is the least that counts something into shared memory: in flight and one histogram, under a lock.
"""

from __future__ import annotations

import _thread
import mmap
import os
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any


os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"  # noqa: TID251 - read once, at the import below

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Gauge, Histogram

from bench.interleaved import measure, table
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import SECONDS
from otelmon.middleware.requests import RequestMetrics


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/orders/42",
    "QUERY_STRING": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "127.0.0.1:8000",
    "HTTP_ACCEPT": "*/*",
    "wsgi.url_scheme": "http",
}
_HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "2")]
_BODY = [b"ok"]


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer; the route is known, as from a framework."""
    environ["otelmon.route"] = "/orders/<id>"
    start_response("200 OK", _HEADERS)
    return _BODY


class PassThrough:
    """Sees the status and the end of a body."""

    __slots__ = ("_body", "_start_response", "status")

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        """Call the application."""
        self._start_response = start_response
        self._body = bare(environ, self)  # type: ignore[arg-type] - no write() here

    def __call__(self, status: str, headers: list[tuple[str, str]]) -> Any:  # noqa: ANN401
        """Be start_response."""
        self.status = status
        return self._start_response(status, headers)

    def __iter__(self) -> Iterator[bytes]:
        """Hand out the body."""
        return iter(self._body)

    def close(self) -> None:
        """See the end."""


_shared = memoryview(mmap.mmap(-1, 1 << 20)).cast("q")
_lock = _thread.allocate_lock()
_rows: dict[tuple[str, str, str], int] = {}
_bounds = tuple(round(bound * 1e9) for bound in SECONDS)


class Probe(PassThrough):
    """Counts requests in flight, and durations in one histogram, in shared memory."""

    __slots__ = ("_environ", "_started")

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        """Begin to measure."""
        with _lock:
            _shared[0] += 1
        self._environ = environ
        self._started = time.perf_counter_ns()
        super().__init__(environ, start_response)

    def close(self) -> None:
        """Book the request."""
        elapsed = time.perf_counter_ns() - self._started
        environ = self._environ
        key = (environ["REQUEST_METHOD"], environ["otelmon.route"], self.status)
        row = _rows.get(key) or _rows.setdefault(key, 16 * (len(_rows) + 1))
        with _lock:
            _shared[row + bisect_left(_bounds, elapsed)] += 1
            _shared[row + 15] += elapsed
            _shared[0] -= 1


_registry = CollectorRegistry()
_histogram = Histogram("d", "d", ["method", "route", "status"], registry=_registry, buckets=SECONDS)
_gauge = Gauge("g", "g", registry=_registry)


class PrometheusClient(PassThrough):
    """What one would write with prometheus_client for a single process."""

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


def otelmon_app() -> WSGIApplication:
    """Return the application as otelmon measures it, in memory of its own."""
    ledger = Ledger()
    ledger.serve_alone()
    return RequestMetrics(bare, ledger=ledger, serve=lambda: ledger.pen)


def opentelemetry_app(readers: int) -> WSGIApplication:
    """Return the application under OpenTelemetry's middleware, metrics only."""
    provider = MeterProvider([InMemoryMetricReader() for _ in range(readers)])
    app: WSGIApplication = OpenTelemetryMiddleware(bare, meter_provider=provider)
    return app


def request(app: Callable[..., Iterable[bytes]]) -> Callable[[], None]:
    """Return one request to *app*, as a server makes it."""

    def call() -> None:
        body = app(dict(_ENVIRON), _start_response)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()

    return call


def _start_response(_status: str, _headers: object, _exc_info: object = None) -> None:
    return None


def main() -> None:
    """Print the table."""
    apps = {
        "bare application": bare,
        "pass-through": PassThrough,
        "probe in shared memory": Probe,
        "otelmon": otelmon_app(),
        "prometheus_client, one process": PrometheusClient,
        "opentelemetry-instrumentation-wsgi, 1 reader": opentelemetry_app(1),
        "opentelemetry-instrumentation-wsgi, 2 readers": opentelemetry_app(2),
    }
    costs = measure({name: request(app) for name, app in apps.items()}, calls=2000, rounds=40)
    print("\nAdded to a request, CPU time\n")
    print(table(costs, over="bare application", unit=1000, unit_name="us"))


if __name__ == "__main__":
    main()
