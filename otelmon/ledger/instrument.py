"""What is counted: an instrument, and a series of it with one set of attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


Kind = Literal["counter", "histogram", "gauge"]
Attribute = str | bool | int | float
Attributes = tuple[tuple[str, Attribute], ...]

OVERFLOW: Attributes = (("otel.metric.overflow", True),)
"""The attributes of the series that takes what no series of its own could be had for.

https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute
"""


@dataclass(frozen=True, slots=True)
class Instrument:
    """The identity of what is counted; equal instruments share their series.

    *bounds* are a histogram's upper bucket bounds, inclusive, in *unit*. Sums of a histogram are
    whole numbers of *scale* units: durations in seconds are summed in nanoseconds (1e-9), so that
    no reader ever sees a sum lose a bit.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    bounds: tuple[float, ...] = ()
    scale: float = 1.0
    scope: str = "otelmon"

    @property
    def counts(self) -> int:
        """Return how many counting lanes a series takes: a histogram's buckets, then its sum."""
        return {"counter": 1, "histogram": len(self.bounds) + 2, "gauge": 0}[self.kind]

    @property
    def values(self) -> int:
        """Return how many value lanes a series takes."""
        return 1 if self.kind == "gauge" else 0


@dataclass(frozen=True, slots=True)
class Series:
    """One instrument with one set of attributes, sorted by key, and where its lanes begin."""

    instrument: Instrument
    attributes: Attributes
    base: int
    """The first of its counting lanes, or of its value lanes for a gauge; in every slot the same"""

    def buckets(self, lanes: list[int]) -> list[int]:
        """Return a histogram's bucket counts out of *lanes*, zeros where nobody counted yet."""
        size = len(self.instrument.bounds) + 1
        found = lanes[self.base : self.base + size]
        return found + [0] * (size - len(found))

    def total(self, lanes: list[int]) -> int:
        """Return a counter's count, or a histogram's sum in its instrument's scale."""
        at = self.base + self.instrument.counts - 1
        return lanes[at] if at < len(lanes) else 0
