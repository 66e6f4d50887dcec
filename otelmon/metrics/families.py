"""Families of Prometheus samples, made of the series of one instrument or of several alike.

Numbers are filled into bytes, which costs half of what it costs in text, and a histogram's dozen of
lines are one template.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal

from otelmon.metrics.names import help_text, label_text, number


if TYPE_CHECKING:
    from otelmon.ledger.instrument import Attributes


Rows = Mapping[bytes, list[int]]
"""First lanes by labels. Series that differ only in what is not shown have the same labels."""
Labels = Callable[["Attributes"], bytes | None]
"""Returns the labels of a series, None for one that is not shown."""
Values = Mapping[int, Mapping[int, float]]
"""What each slot says, by lane"""

OVERFLOW_LABELS: Final = label_text([("otel_metric_overflow", "true")])
# Stands for the labels in a template. They are put in last, so labels may hold it.
_HERE: Final = "\0"


@dataclass(frozen=True, slots=True)
class Counter:
    """What only grows: a counter's lane, or the buckets of a histogram, *width* lanes in all."""

    name: str  # without _total
    about: str
    labels: Labels
    scale: float = 1.0
    width: int = 1
    initial: tuple[bytes, ...] = ()
    """Labels that are shown from the start, at 0"""

    kind: Literal["counter"] = "counter"

    def samples(self, rows: Rows, lanes: list[int], _: Values) -> Iterator[bytes]:
        """Yield the lines; the overflow series' only once there is something in it."""
        digits, parts = _written(self.scale)
        labelled = f"{self.name}_total{{%b}} {digits}\n".encode()
        plain = f"{self.name}_total {digits}\n".encode()
        width = self.width
        for labels, bases in rows.items():
            value = 0
            for base in bases:
                value += sum(lanes[base : base + width])
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
    scale: float = 1.0

    kind: Literal["histogram"] = "histogram"

    def samples(self, rows: Rows, lanes: list[int], _: Values) -> Iterator[bytes]:
        """Yield all lines of a series at once."""
        size = len(self.bounds) + 1
        parts = _written(self.scale)[1]
        labelled, plain = self._template(_HERE), self._template("")
        for labels, bases in rows.items():
            found = lanes[bases[0] : bases[0] + size + 1]
            for base in bases[1:]:
                more = lanes[base : base + size + 1]
                found = [a + b for a, b in zip(found, more, strict=True)]
            counts = tuple(accumulate(found[:size]))
            if counts[-1]:
                numbers = (*counts, *parts(found[size]), counts[-1])
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
class Gauge:
    """Last values, which belong to a process: one sample for each slot."""

    name: str
    about: str
    labels: Labels
    scale: float = 1.0

    kind: Literal["gauge"] = "gauge"

    def samples(self, rows: Rows, _: list[int], values: Values) -> Iterator[bytes]:
        """Yield the lines."""
        name = self.name.encode()
        for labels, bases in rows.items():
            before = labels + b"," if labels else b""
            for slot, value in values.get(bases[-1], {}).items():
                yield b'%b{%bworker="%d"} %b\n' % (name, before, slot, number(value))


Family = Counter | Histogram | Gauge


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


def _written(scale: float) -> tuple[str, Callable[[int], tuple[object, ...]]]:
    """Return how a whole number of *scale* units is written, and the parts to write.

    A sum of nanoseconds is written digit by digit: exact, and quicker than a float.
    """
    places = -round(math.log10(scale)) if scale > 0 else 0
    if scale == 1.0:
        return "%d", lambda value: (value,)
    if 0 < places < 16 and scale == float(f"1e-{places}"):
        return f"%d.%0{places}d", lambda value: divmod(value, 10**places)
    return "%b", lambda value: (number(value * scale),)
