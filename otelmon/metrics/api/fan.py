"""Instruments that several views match, or that all views drop: each record goes to every stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context

    from otelmon.metrics.api import synchronous

    Attributes = Mapping[str, object] | None


class Counter(metrics.Counter):
    """Adds to all of its parts."""

    def __init__(self, parts: Sequence[synchronous.Counter]) -> None:
        """Take the parts, perhaps none."""
        self._parts = parts

    def add(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """Add *amount*."""
        for part in self._parts:
            part.add(amount, attributes, context)


class UpDownCounter(metrics.UpDownCounter):
    """Adds to all of its parts."""

    def __init__(self, parts: Sequence[synchronous.UpDownCounter]) -> None:
        """Take the parts, perhaps none."""
        self._parts = parts

    def add(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """Add *amount*."""
        for part in self._parts:
            part.add(amount, attributes, context)


class Histogram(metrics.Histogram):
    """Records to all of its parts."""

    def __init__(self, parts: Sequence[synchronous.Histogram]) -> None:
        """Take the parts, perhaps none."""
        self._parts = parts

    def record(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """Record *amount*."""
        for part in self._parts:
            part.record(amount, attributes, context)


class Gauge(metrics._Gauge):  # noqa: SLF001 - the API has no other name for it
    """Sets all of its parts."""

    def __init__(self, parts: Sequence[synchronous.Gauge]) -> None:
        """Take the parts, perhaps none."""
        self._parts = parts

    def set(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """Say *amount*."""
        for part in self._parts:
            part.set(amount, attributes, context)
