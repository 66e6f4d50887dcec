"""When an application traces: one rule, for the queries of databases and the commands of Redis."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.gunicorn_server import ROOT


# A process of its own: a provider can be set only once, and an instrumentation stays.
PROGRAM = """
import json, sys
import redis, sqlalchemy
from opentelemetry import trace
from otelmon.instruments import redis_traces
from otelmon.instruments.databases import tracing

class Vendors(trace.TracerProvider):
    def get_tracer(self, *args, **more):
        return trace.NoOpTracer()

def sdks():
    from opentelemetry.sdk.trace import TracerProvider
    return TracerProvider()

made = {"api's": trace.NoOpTracerProvider, "vendor's": Vendors, "sdk's": sdks}
if sys.argv[1] in made:
    trace.set_tracer_provider(made[sys.argv[1]]())
tracing.follow(sqlalchemy.create_engine("sqlite://"))
redis_traces.attach()
packages = ("sqlalchemy", "redis")
print(json.dumps(["opentelemetry.instrumentation." + each in sys.modules for each in packages]))
"""


@pytest.mark.parametrize(
    ("provider", "traces"), [("none", False), ("api's", False), ("vendor's", True), ("sdk's", True)]
)
def test_both_have_spans_or_neither(provider: str, traces: bool) -> None:
    """With a provider of anybody, and not with what the API has until one is set."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, provider],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == [traces, traces]
