"""A stock Flask application under OpenTelemetry's own instrumentation, and its own spans' reader."""

from __future__ import annotations

import os

from flask import Flask
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otelmon import monitor
from tests.apps.answers import tagged


flask = Flask(__name__)
spans = InMemorySpanExporter()
if os.environ.get("OWN_PROVIDER"):  # noqa: TID251 - how a test tells its application something
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))
if os.environ.get("OWN_SPANS"):  # noqa: TID251 - as above
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(tracing)
pages = metrics.get_meter("shop").create_counter("shop.pages")


@flask.get("/page/<int:number>")
def page(number: int) -> str:
    """Show a page."""
    pages.add(1)
    return str(number)


@flask.get("/spans")
def told() -> list[str]:
    """Tell the names of this worker's finished spans."""
    return [span.name for span in spans.get_finished_spans()]


if os.environ.get("INSTRUMENT"):  # noqa: TID251 - as above
    FlaskInstrumentor().instrument_app(flask, excluded_urls="spans")  # type: ignore[no-untyped-call]
app = tagged(monitor(flask))
