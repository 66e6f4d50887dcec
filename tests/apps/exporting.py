"""An application that exports what is measured, when it is asked to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import get_meter

import otelmon
from tests.apps.answers import tagged


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


RECEIVER = os.environ["RECEIVER"]  # noqa: TID251 - how a test tells its application something
meter = get_meter("shop", "1.0", schema_url="https://example.org/schema")
orders = meter.create_counter("orders", "{order}")
waits = meter.create_histogram("waits", "ms", explicit_bucket_boundaries_advisory=[1, 10])
heat = meter.create_gauge("heat", "Cel")


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Measure something, or export everything."""
    if environ["PATH_INFO"] == "/export":
        data = otelmon.metrics_data()
        assert data is not None
        said = OTLPMetricExporter(endpoint=RECEIVER).export(data).name
    else:
        orders.add(2, {"kind": "web", "size": 3})
        waits.record(5.5)
        heat.set(20)
        said = "done"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]


app = tagged(otelmon.monitor(application))
