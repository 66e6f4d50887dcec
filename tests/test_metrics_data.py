"""Every standard exporter can be given what is measured."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

import otelmon
from tests.gunicorn_server import Gunicorn
from tests.http_upstream import http_upstream
from tests.otlp_collector import attributes, received
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
RESOURCE = {"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "service.version=3.1"}


def booked(server: Gunicorn, requests: int) -> bool:
    """Tell whether so many requests were finished."""
    said = server.ops("/api/metrics").json()["application"]
    return bool(said["request_count"] == requests)


def test_otlp_carries_the_whole_instance(tmp_path: Path) -> None:
    """Whichever worker exports, the receiver gets the sums of all, by scope, kind and attributes."""
    posted: list[bytes] = []
    with http_upstream(posted) as receiver:
        env = {"RECEIVER": receiver, "MONITORING_INTERVAL": "1", **RESOURCE}
        with Gunicorn(tmp_path, app="tests.apps.exporting:app", env=env) as server:
            server.wait_for_workers()
            with ThreadPoolExecutor(4) as clients:
                list(clients.map(lambda _: server.get("/buy", timeout=60), range(40)))

            def sampled() -> bool:
                said = server.ops("/api/metrics").json()
                busy = said["application"]["active_connections"]
                return said["system"]["memory_total"] is not None and not busy

            assert until(sampled), server.log
            for number in range(8):
                # The one before is booked when its body is closed, after the client has it.
                assert until(partial(booked, server, 40 + number)), server.log
                assert server.get("/export").text == "SUCCESS"
        assert len(posted) == 8
    instances = set()
    for number, body in enumerate(posted):
        resource, metrics = received(body)
        assert (resource["service.name"], resource["service.version"]) == ("shop", "3.1")
        instances.add(resource["service.instance.id"])
        judge(metrics, requests=40 + number)
    assert len(instances) == 1


def judge(metrics: dict[tuple[str, str], Any], *, requests: int) -> None:
    """Check what was exported after forty purchases and so many *requests* in all."""
    orders = metrics["shop", "orders"].sum
    assert (orders.is_monotonic, orders.aggregation_temporality) == (True, CUMULATIVE)
    (point,) = orders.data_points
    assert (point.as_int, attributes(point)) == (80, {"kind": "web", "size": 3})
    assert 0 < point.start_time_unix_nano < point.time_unix_nano
    (wait,) = metrics["shop", "waits"].histogram.data_points
    assert (wait.count, wait.sum, list(wait.bucket_counts)) == (40, 220.0, [0, 40, 0])
    assert list(wait.explicit_bounds) == [1.0, 10.0]
    assert not wait.HasField("min")
    heats = metrics["shop", "heat"].gauge.data_points
    assert {attributes(heat)["otelmon.worker"] for heat in heats} <= {0, 1, 2, 3}
    own = metrics["otelmon", "http.server.request.duration"].histogram.data_points
    assert sum(point.count for point in own) == requests
    assert all(0 < point.sum < 60 * point.count for point in own), "in seconds"
    (memory,) = metrics["otelmon.host", "system.memory.limit"].gauge.data_points
    assert memory.as_int > 0


def test_there_is_none_before_the_process_serves() -> None:
    """A process that is no server has nothing to export."""
    assert otelmon.metrics_data() is None
