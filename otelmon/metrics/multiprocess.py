"""What an application already measures with prometheus_client in its multiprocess mode.

Its text stands behind ours, so that a team can move one metric after the other. Exact it is only as
far as that mode is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from otelmon import faults
from otelmon.errors import OtelmonError


if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from prometheus_client import Metric


class _Others(Collector):
    """All metrics in a directory but those whose names are taken: no family may stand twice."""

    def __init__(self, directory: str, taken: Container[str]) -> None:
        self._files = MultiProcessCollector(CollectorRegistry(), path=directory)  # type: ignore[no-untyped-call]
        self._taken = taken

    def collect(self) -> Iterator[Metric]:
        for metric in self._files.collect():  # type: ignore[no-untyped-call]
            if metric.name in self._taken:
                faults.report(
                    "prometheus_family",
                    OtelmonError(f"prometheus_client's {metric.name!r} is left out: it is ours."),
                    of=metric.name,
                )
            else:
                yield metric


def text(directory: str, taken: Container[str], *, openmetrics: bool) -> bytes:
    """Return the families in *directory* whose names are not *taken*; OpenMetrics without its EOF.

    Raises:
        ValueError, OSError: it is no such directory, or a file in it is damaged.
    """
    registry = CollectorRegistry()
    registry.register(_Others(directory, taken))
    if not openmetrics:
        return generate_latest(registry)
    found: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
    return found.removesuffix(b"# EOF\n")
