"""A meter of the SDK, and what was recorded on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource


if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, NumberDataPoint

    Attributes = frozenset[tuple[str, object]]
    Point = NumberDataPoint | HistogramDataPoint


class Metered:
    """A provider of its own."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], Resource({}), shutdown_on_exit=False)
        self.meter = self._provider.get_meter("tests")

    def metric(self, name: str) -> Metric | None:
        """Collect; return the instrument of this name if it has any figures."""
        data = self._reader.get_metrics_data()
        found = [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        assert len(found) <= 1
        return found[0] if found else None

    def points(self, name: str) -> dict[Attributes, Point]:
        """Collect; return what the instrument of this name has, by attributes."""
        metric = self.metric(name)
        points: dict[Attributes, Point] = {}
        for point in metric.data.data_points if metric else ():
            assert point is not None
            points[frozenset((point.attributes or {}).items())] = point  # type: ignore[assignment]
        return points

    def figures(self, name: str) -> dict[Attributes, float]:
        """Collect; return values, of histograms how often, by attributes."""
        return {
            attributes: point.count if isinstance(point, HistogramDataPoint) else point.value
            for attributes, point in self.points(name).items()
        }

    def by(self, name: str, *attributes: str) -> dict[tuple[object, ...], float]:
        """Collect; return values, of histograms how often, by the values of some attributes."""
        found: dict[tuple[object, ...], float] = {}
        for had, value in self.figures(name).items():
            key = tuple(dict(had).get(attribute) for attribute in attributes)
            found[key] = found.get(key, 0) + value
        return found
