"""The application under opentelemetry-instrumentation-wsgi: metrics only, the stable names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING


os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"  # noqa: TID251 - read once, at the import below

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from bench.apps import plain


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def instrumented(readers: int) -> WSGIApplication:
    """Return the application with this many readers of its metrics, which cost nothing if idle."""
    provider = MeterProvider([InMemoryMetricReader() for _ in range(readers)])
    wrapped: WSGIApplication = OpenTelemetryMiddleware(plain.app, meter_provider=provider)
    return wrapped


app = instrumented(1)
