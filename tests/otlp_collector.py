"""A collector in threads of the test: OpenTelemetry's own protocol, kept as it was sent."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)


if TYPE_CHECKING:
    from collections.abc import Iterator


class _Service(MetricsServiceServicer):
    def __init__(self, posted: list[bytes]) -> None:
        self._posted = posted

    def Export(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802 - grpc's
        """Keep it."""
        self._posted.append(request.SerializeToString())
        return ExportMetricsServiceResponse()


@contextlib.contextmanager
def grpc_collector(posted: list[bytes]) -> Iterator[str]:
    """Serve OTLP over gRPC; yield the address. What is sent is added to *posted*."""
    server = grpc.server(ThreadPoolExecutor(2))
    add_MetricsServiceServicer_to_server(_Service(posted), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def attributes(found: Any) -> dict[str, Any]:  # noqa: ANN401 - protobuf makes its classes itself
    """Return attributes as they were."""
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in found.attributes
    }


def received(body: bytes) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """Return the resource's attributes, and each metric by its scope and name."""
    (resource_metrics,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
    metrics = [
        ((scope.scope.name, metric.name), metric)
        for scope in resource_metrics.scope_metrics
        for metric in scope.metrics
    ]
    assert len(dict(metrics)) == len(metrics), "exporters drop what is said twice"
    return attributes(resource_metrics.resource), dict(metrics)
