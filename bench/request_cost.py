"""What measuring adds to a request, beside what others add: calls without a server.

`pass-through` only sees the status and the end of the body: less cannot be had in Python. `probe`
is the least that counts something into shared memory: in flight and one histogram, under a lock.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from bench.apps import plain
from bench.apps.opentelemetry import instrumented
from bench.apps.probe import Probe
from bench.apps.prometheus import PrometheusClient
from bench.interleaved import measure
from bench.tables import show
from otelmon.ledger.ledger import Ledger
from otelmon.middleware.requests import RequestMetrics


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import WSGIApplication


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
    "wsgi.input": io.BytesIO(),
    "wsgi.errors": sys.stderr,
}


def otelmon_app() -> WSGIApplication:
    """Return the application as otelmon measures it, in memory of its own."""
    ledger = Ledger()
    ledger.serve_alone()
    return RequestMetrics(plain.app, ledger=ledger, serve=lambda: ledger.pen)


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


_BARE = "bare application"
_PROBE = "probe in shared memory"


def main() -> None:
    """Print what each adds to the bare application."""
    apps = {
        _BARE: plain.app,
        "pass-through": plain.PassThrough,
        _PROBE: Probe,
        "otelmon": otelmon_app(),
        "prometheus_client, one process": PrometheusClient,
        "opentelemetry-instrumentation-wsgi, 1 reader": instrumented(1),
        "opentelemetry-instrumentation-wsgi, 2 readers": instrumented(2),
    }
    costs = measure({name: request(app) for name, app in apps.items()}, calls=2000, rounds=40)
    bare = costs.pop(_BARE)
    probe = costs[_PROBE].least - bare.least
    show(
        "Added to a request without a server, CPU time over the bare application's "
        f"{bare.least / 1e3:.2f} us",
        ["case", "min (us)", "median (us)", "min over the probe's"],
        [
            [
                name,
                f"{(cost.least - bare.least) / 1e3:.2f}",
                f"{(cost.median - bare.median) / 1e3:.2f}",
                f"{(cost.least - bare.least) / probe:.1f}",
            ]
            for name, cost in costs.items()
        ],
    )


if __name__ == "__main__":
    main()
