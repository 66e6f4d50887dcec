"""Families of Prometheus samples, made of the series of one instrument or of several alike.

Numbers are filled into bytes, which costs half of what it costs in text, and a histogram's dozen of
lines are one template.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from otelmon.ledger.lanes import added
from otelmon.ledger.reader import together
from otelmon.metrics.names import help_text, label_text, number


if TYPE_CHECKING:
    from otelmon.ledger.counted import Counted
    from otelmon.ledger.instrument import Attributes, Merge, Series


Rows = Mapping[bytes, list["Series"]]
"""Series by labels. Those that differ only in what is not shown have the same labels."""
Labels = Callable[["Attributes"], bytes | None]
"""Returns the labels of a series, None for one that is not shown."""


class Merged(NamedTuple):
    """What was read, with a lane for every series that is known; see `Reading`."""

    lanes: list[int]
    sums: list[float]
    values: Mapping[int, Mapping[int, float]]
    recent: Mapping[int, float]
    slots: Mapping[int, Mapping[int, Counted]]


OVERFLOW_LABELS: Final = label_text([("otel_metric_overflow", "true")])
# Stands for the labels in a template. They are put in last, so labels may hold it.
_HERE: Final = "\0"


@dataclass(frozen=True, slots=True)
class Counter:
    """What only grows: a counter's lane, or the buckets of a histogram, *width* lanes in all."""

    name: str  # without _total
    about: str
    labels: Labels
    scale: float | None = 1.0
    width: int = 1
    initial: tuple[bytes, ...] = ()
    """Labels that are shown from the start, at 0"""

    kind: Literal["counter"] = "counter"

    def samples(self, rows: Rows, merged: Merged) -> Iterator[bytes]:
        """Yield the lines; the overflow series' only once there is something in it."""
        digits, parts = _written(self.scale)
        labelled = f"{self.name}_total{{%b}} {digits}\n".encode()
        plain = f"{self.name}_total {digits}\n".encode()
        lanes, width = merged.lanes, self.width
        for labels, alike in rows.items():
            value: float = 0
            for series in alike:
                value += sum(lanes[series.base : series.base + width])
            if self.scale is None:
                # A whole number stays one, however large.
                fractions = added(merged.sums[series.sums] for series in alike)
                value = value + fractions if fractions else value
            if not labels:
                yield plain % parts(value)
            elif value or labels != OVERFLOW_LABELS:
                yield labelled % (labels, *parts(value))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Buckets, sum and count; a series is shown from its first record on."""

    name: str
    about: str
    labels: Labels
    bounds: tuple[float, ...]
    scale: float | None = 1.0

    kind: Literal["histogram"] = "histogram"

    def samples(self, rows: Rows, merged: Merged) -> Iterator[bytes]:
        """Yield all lines of a series at once."""
        lanes, sums = merged.lanes, merged.sums
        size = len(self.bounds) + 1
        width = size + (self.scale is not None)
        parts = _written(self.scale)[1]
        labelled, plain = self._template(_HERE), self._template("")
        for labels, alike in rows.items():
            first = alike[0]
            found = lanes[first.base : first.base + width]
            for series in alike[1:]:
                more = lanes[series.base : series.base + width]
                found = [a + b for a, b in zip(found, more, strict=True)]
            counts = tuple(accumulate(found[:size]))
            if counts[-1]:
                total = added(sums[s.sums] for s in alike) if self.scale is None else found[size]
                numbers = (*counts, *parts(total), counts[-1])
                yield (labelled % numbers).replace(b"\0", labels) if labels else plain % numbers

    def _template(self, labels: str) -> bytes:
        digits = _written(self.scale)[0]
        comma, braces = (",", f"{{{labels}}}") if labels else ("", "")
        bounds = [*(number(float(bound)).decode() for bound in self.bounds), "+Inf"]
        buckets = (f'{self.name}_bucket{{{labels}{comma}le="{le}"}} %d\n' for le in bounds)
        return (
            f"{''.join(buckets)}{self.name}_sum{braces} {digits}\n{self.name}_count{braces} %d\n"
        ).encode()


@dataclass(frozen=True, slots=True)
class Last:
    """What was said last, by each process or put together from what all said."""

    name: str  # a counter's without _total
    about: str
    labels: Labels
    merge: Merge = "worker"
    kind: Literal["gauge", "counter"] = "gauge"

    def samples(self, rows: Rows, merged: Merged) -> Iterator[bytes]:
        """Yield the lines: one for each slot, or one in all."""
        name = f"{self.name}_total".encode() if self.kind == "counter" else self.name.encode()
        for labels, alike in rows.items():
            # Of two scopes that say the same, the later one counts.
            series = alike[-1]
            if self.merge == "worker":
                before = labels + b"," if labels else b""
                for slot, value in merged.values.get(series.base, {}).items():
                    yield b'%b{%bworker="%d"} %b\n' % (name, before, slot, number(value))
            else:
                figure = together(series, merged.values, merged.recent)
                if figure is not None:
                    braces = b"{%b}" % labels if labels else b""
                    yield b"%b%b %b\n" % (name, braces, number(figure))


@dataclass(frozen=True, slots=True)
class BySlot:
    """What is counted in each slot, by all processes that had it one after the other."""

    name: str  # without _total
    about: str
    labels: Labels
    scale: float = 1.0
    kind: Literal["counter"] = "counter"

    def samples(self, rows: Rows, merged: Merged) -> Iterator[bytes]:
        """Yield a line for each slot that is or was in use."""
        digits, parts = _written(self.scale)
        line = f'{self.name}_total{{%b%bworker="%d"}} {digits}\n'.encode()
        for labels, alike in rows.items():
            totals: dict[int, int] = {}
            for series in alike:
                for slot, counted in merged.slots.get(series.base, {}).items():
                    totals[slot] = totals.get(slot, 0) + counted.total
            for slot, total in sorted(totals.items()):
                yield line % (labels, b"," if labels else b"", slot, *parts(total))


Family = Counter | Histogram | Last | BySlot


def head(name: str, kind: str, about: str, *, openmetrics: bool) -> bytes:
    """Return what stands before a family's samples; a counter's *name* is without `_total`."""
    shown = f"{name}_total" if kind == "counter" and not openmetrics else name
    text = help_text(about, openmetrics=openmetrics)
    return b"# HELP %b %b\n# TYPE %b %b\n" % (shown.encode(), text, shown.encode(), kind.encode())


def taken(name: str, kind: str) -> frozenset[str]:
    """Return the names that a family keeps from others, those of its samples among them."""
    endings = {"counter": ("_total", "_created"), "histogram": _HISTOGRAM_ENDINGS}.get(kind, ())
    return frozenset((name, *(name + ending for ending in endings)))


_HISTOGRAM_ENDINGS: Final = ("_bucket", "_sum", "_count", "_created")


def _written(scale: float | None) -> tuple[str, Callable[[float], tuple[object, ...]]]:
    """Return how a whole number of *scale* units is written, and the parts to write.

    A sum of nanoseconds is written digit by digit: exact, and quicker than a float.
    """
    if scale is None:
        return "%b", lambda value: (number(value),)
    places = -round(math.log10(scale)) if scale > 0 else 0
    if scale == 1.0:
        return "%d", lambda value: (value,)
    if 0 < places < 16 and scale == float(f"1e-{places}"):
        return f"%d.%0{places}d", lambda value: divmod(value, 10**places)
    return "%b", lambda value: (number(value * scale),)
