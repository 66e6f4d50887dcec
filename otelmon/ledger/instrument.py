"""What is counted: an instrument, and a series of it with one set of attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


Kind = Literal["counter", "up_down_counter", "gauge", "histogram"]
Merge = Literal["add", "slot", "sum", "worker", "recent", "min", "max"]
"""What many processes' figures come to.

*add*: all that was ever added, by the dead too. *sum*, *min*, *max*: of what the live ones say.
*worker*: nothing, each live one's stands for itself. *slot*: nothing either, but a slot's figure
stays when its process dies, and the next one to have the slot adds to it. *recent*: what was said
last, by whomever, also if that one is dead.
"""
Attribute = str | bool | int | float | tuple[str | bool | int | float, ...]
Attributes = tuple[tuple[str, Attribute], ...]

OVERFLOW: Attributes = (("otel.metric.overflow", True),)
"""The attributes of the series that takes what no series of its own could be had for.

https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute
"""

_USUAL: Final[dict[Kind, Merge]] = {
    "counter": "add",
    "histogram": "add",
    "up_down_counter": "sum",
    "gauge": "worker",
}


class Scope(NamedTuple):
    """Who measures: the instrumentation scope of OpenTelemetry."""

    name: str
    version: str = ""
    schema_url: str = ""
    attributes: Attributes = ()


OWN: Final = Scope("otelmon")


@dataclass(frozen=True, slots=True)
class Instrument:
    """The identity of what is counted; equal instruments share their series.

    *bounds* are a histogram's upper bucket bounds, inclusive, in *unit*. Sums of a histogram are
    whole numbers of *scale* units: durations in seconds are summed in nanoseconds (1e-9), so that
    no reader ever sees a sum lose a bit. Where *scale* is None amounts may have any fraction.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    bounds: tuple[float, ...] = ()
    scale: float | None = 1.0
    scope: Scope = OWN
    merge: Merge | None = None
    """None means what is usual for the kind, and is replaced by that"""

    def __post_init__(self) -> None:
        """Say how it is merged."""
        if self.merge is None:
            object.__setattr__(self, "merge", _USUAL[self.kind])

    @property
    def own(self) -> bool:
        """Tell whether it is otelmon that measures: then its series have room of their own."""
        return f"{self.scope.name}.".startswith(f"{OWN.name}.")

    @property
    def counts(self) -> int:
        """Return how many counting lanes a series takes: a histogram's buckets, then its sum.

        What is counted by slot has a second one: how much of it the slot's earlier owners counted.
        """
        if self.merge == "slot":
            return 2
        if self.merge != "add":
            return 0
        if self.kind == "counter":
            return 1
        return len(self.bounds) + 1 + (self.scale is not None)

    @property
    def sums(self) -> int:
        """Return how many lanes of sums a series takes."""
        if self.merge == "recent":
            return 2
        return int(self.merge == "add" and self.scale is None)

    @property
    def values(self) -> int:
        """Return how many value lanes a series takes.

        What goes up and down has a second one, which is not zero once it is in use: zero is a sum
        like any other.
        """
        if self.merge in ("add", "slot", "recent"):
            return 0
        return 2 if self.kind == "up_down_counter" else 1


@dataclass(frozen=True, slots=True)
class Series:
    """One instrument with one set of attributes, sorted by key, and where its lanes begin."""

    instrument: Instrument
    attributes: Attributes
    base: int
    """The first of its counting lanes, or of its value lanes; in every slot the same"""
    sums: int = 0
    """The first of its lanes of sums, if it has any"""
    number: int = 0
    """How many series were placed before it"""

    def buckets(self, lanes: list[int]) -> list[int]:
        """Return a histogram's bucket counts out of *lanes*, zeros where nobody counted yet."""
        size = len(self.instrument.bounds) + 1
        found = lanes[self.base : self.base + size]
        return found + [0] * (size - len(found))

    def total(self, lanes: list[int]) -> int:
        """Return a counter's whole amounts, or a histogram's sum in its instrument's scale.

        Not of what is counted by slot: that has no total here.
        """
        at = self.base + self.instrument.counts - 1
        return lanes[at] if at < len(lanes) else 0


def told_apart(attributes: Attributes) -> tuple[Attributes, tuple[object, ...]]:
    """Return what tells attributes from others: 1, 1.0 and True are equal, and not the same."""
    types = (
        tuple(map(type, value)) if isinstance(value, tuple) else type(value)
        for _, value in attributes
    )
    return attributes, tuple(types)


class Known(tuple[Series, ...]):  # noqa: SLOT001 - no tuple can have any
    """All series that there were at one moment, in the order in which they were placed.

    There may be thousands, and an answer asks for those of one instrument again and again: they are
    sorted by it once for as long as there are no more.
    """

    _by_instrument: Mapping[Instrument, Sequence[Series]] | None = None

    @property
    def by_instrument(self) -> Mapping[Instrument, Sequence[Series]]:
        """Return the series of each instrument, in the order of the first ones."""
        if self._by_instrument is None:
            # Without a lock: at the worst two threads find the same.
            self._by_instrument = _grouped(self)
        return self._by_instrument


def _grouped(series: Iterable[Series]) -> dict[Instrument, list[Series]]:
    # By identity first: to compare or hash an instrument for each of its series takes long.
    same: dict[int, list[Series]] = {}
    for each in series:
        same.setdefault(id(each.instrument), []).append(each)
    found: dict[Instrument, list[Series]] = {}
    for several in same.values():
        found.setdefault(several[0].instrument, []).extend(several)
    return found


def by_instrument(series: Sequence[Series]) -> Mapping[Instrument, Sequence[Series]]:
    """Return the series of each instrument, in the order of the first ones."""
    known = series if isinstance(series, Known) else Known(series)
    return known.by_instrument
