"""Clusters and sentinels are observed; asynchronous clients are not; spans only where tracing is on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from otelmon.instruments.lookups import OPERATIONS, RESULT
from otelmon.instruments.redis_commands import DURATION, OPERATION
from otelmon.metrics import caches
from tests.counting import Counting, counting
from tests.free_ports import free_port
from tests.gunicorn_server import ROOT
from tests.redis_server import RedisServer
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(name="count")
def _count() -> Iterator[Counting]:
    with counting() as count:
        yield count


def commands(count: Counting, *names: str) -> dict[str, float]:
    """Return how often each of these was sent by itself."""
    found = count.by(DURATION, OPERATION)
    return {name: found.get(name, 0) for name in names}


def test_a_cluster_is_observed(tmp_path: Path, count: Counting) -> None:
    """Its commands and pipelines are counted once, with hits, misses and its nodes' connections."""
    # Unless told, its nodes speak on a port 10,000 above, which there may not be.
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with RedisServer(tmp_path, "redis", *bus) as server:
        with server.client() as node:
            node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            assert until(lambda: b"cluster_state:ok" in _info(node))
        before = commands(count, "SET", "GET", "MGET", "PIPELINE")
        with RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", server.port)]) as cluster:  # type: ignore[no-untyped-call]
            cluster.set("a", 1)
            cluster.get("a")
            cluster.get("b")
            with cluster.pipeline() as pipe:
                pipe.get("a").get("b").set("c", 1)
                pipe.execute()
            count.provider.observe()
            shown = caches.redis(count.reading())

        after = commands(count, "SET", "GET", "MGET", "PIPELINE")
        assert {name: after[name] - before[name] for name in after} == {
            "SET": 1,
            "GET": 2,
            "MGET": 0,
            "PIPELINE": 1,
        }
        assert count.by("otelmon.redis.pipeline.commands", OPERATION) == {"GET": 2, "SET": 1}
        assert count.by(OPERATIONS, RESULT) == {"hit": 2, "miss": 2}
        assert shown is not None
        assert f"127.0.0.1:{server.port}/0" in shown["pools"]


def _info(node: redis.Redis) -> bytes:
    found: Any = node.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
    return found if isinstance(found, bytes) else repr(found).replace("': '", ":").encode()


def test_a_sentinel_is_observed(tmp_path: Path, count: Counting) -> None:
    """What is asked of a sentinel and of the master that it names is counted, under the service's name."""
    with RedisServer(tmp_path) as master:
        config = tmp_path / "sentinel.conf"
        config.write_text(f"sentinel monitor shop 127.0.0.1 {master.port} 1\n")
        with RedisServer(tmp_path, "redis", config=config) as watcher:
            sentinel = Sentinel([("127.0.0.1", watcher.port)])  # type: ignore[no-untyped-call]
            with sentinel.master_for("shop") as client:  # type: ignore[no-untyped-call]
                assert until(lambda: _is_found(sentinel), 30)
                client.set("a", 1)
                assert client.get("a") == b"1"
                count.provider.observe()
                shown = caches.redis(count.reading())
            sentinel.close()

    assert commands(count, "SET", "GET") == {"SET": 1, "GET": 1}
    assert commands(count, "SENTINEL")["SENTINEL"] >= 1
    assert shown is not None
    assert shown["pools"]["shop/0"]["idle"] == 1


def _is_found(sentinel: Sentinel) -> bool:
    try:
        return bool(sentinel.discover_master("shop"))  # type: ignore[no-untyped-call]
    except redis.RedisError:
        return False


def test_asynchronous_clients_are_left_alone(tmp_path: Path, count: Counting) -> None:
    """They work, and are counted by nobody."""
    with RedisServer(tmp_path) as server:

        async def ask() -> object:
            async with redis.asyncio.Redis.from_url(server.url) as client:
                await client.set("asynchronous", 1)
                return await client.get("asynchronous")

        assert asyncio.run(ask()) == b"1"
    assert commands(count, "SET", "GET") == {"SET": 0, "GET": 0}
    assert count.by(OPERATIONS, RESULT) == {}


# -- traces ---------------------------------------------------------------------------------------

# A process of its own: a provider can be set only once, and an instrumentation stays.
TRACED = """
import io, json, sys
from opentelemetry import trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from wsgiref.util import setup_testing_defaults
import otelmon, redis

when, url = sys.argv[1:]
finished = []

def trace_it():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
    class Kept(SpanExporter):
        def export(self, spans):
            finished.extend(spans)
            return SpanExportResult.SUCCESS
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Kept()))
    trace.set_tracer_provider(provider)

if when == "before":
    trace_it()
clients = [redis.Redis.from_url(url), otelmon.redis_client(url)]

def application(environ, start_response):
    for client in clients:
        client.get("k")
        with client.pipeline() as pipe:
            pipe.get("k").set("k", 1).execute()
    start_response("200 OK", [])
    return [b""]

app = otelmon.monitor(OpenTelemetryMiddleware(application))
if when == "after":
    trace_it()
    otelmon.meter_provider().force_flush()
environ = {}
setup_testing_defaults(environ)
answer = app(environ, lambda status, headers, error=None: None)
list(answer)
answer.close()
app.close()
ids = {span.context.span_id: span.name for span in finished}
print(json.dumps(sorted([span.name, ids.get(span.parent.span_id) if span.parent else None] for span in finished)))
print("opentelemetry.instrumentation.redis" in sys.modules)
"""


@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_spans_are_nested_where_tracing_is_on_and_only_there(tmp_path: Path, when: str) -> None:
    """Each command and pipeline of any client is a span of the request; without tracing none is made."""
    with RedisServer(tmp_path) as server:
        done = subprocess.run(
            [sys.executable, "-c", TRACED, when, server.patient_url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    spans, imported = done.stdout.splitlines()
    nested = [["GET", "GET /"]] * 2 + [["GET /", None]] + [["GET SET", "GET /"]] * 2
    assert json.loads(spans) == ([] if when == "never" else nested)
    assert imported == str(when != "never")
