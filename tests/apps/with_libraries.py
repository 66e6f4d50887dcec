"""An application whose libraries measure themselves with OpenTelemetry: redis-py, and requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import redis
import requests
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from redis.observability import MetricGroup, OTelConfig, get_observability_instance

from otelmon import monitor
from tests.apps.answers import tagged


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


UPSTREAM = os.environ["UPSTREAM"]  # noqa: TID251 - how a test tells its application something
STORE = os.environ["STORE"]  # noqa: TID251 - as above


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Look something up here, and ask for something there."""
    store.incr("visits")
    store.get("nothing")
    upstream.get(f"{UPSTREAM}{environ['PATH_INFO']}", timeout=10)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


app = tagged(monitor(application))
RequestsInstrumentor().instrument()
get_observability_instance().init(
    OTelConfig(metric_groups=[MetricGroup.COMMAND, MetricGroup.CONNECTION_BASIC])
)
store = redis.Redis.from_url(STORE)
upstream = requests.Session()
