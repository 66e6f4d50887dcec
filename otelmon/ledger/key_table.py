"""A parsed copy of the key table, and its records; `keys` tells what it is for and who may change it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from otelmon.ledger.instrument import (
    OVERFLOW,
    Attributes,
    Instrument,
    Known,
    Scope,
    Series,
    told_apart,
)


if TYPE_CHECKING:
    from collections.abc import Iterable


Weight = tuple[float, ...]
"""What is in a series' lanes, in a few numbers that differ as soon as anything is recorded to it"""


class KeyTable:
    """A parsed copy of the key table; `end` is how many bytes of it were read so far."""

    def __init__(self) -> None:
        """Begin empty."""
        self.end = 0
        self.instruments: list[Instrument] = []
        self.series: list[Series] = []
        self.known = Known()
        """The same as it was when it was asked for last"""
        self.apart: list[Series] = []
        """Those whose figures are not added up over all processes"""
        self.resting: dict[int, Weight] = {}
        """At which weight a series was put to rest, by its number"""
        self._sizes_of_all: Counter[bool] = Counter()
        self._numbers: dict[Instrument, int] = {}
        self._found: dict[object, Series] = {}
        self._sizes: Counter[Instrument] = Counter()

    def find(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Return the series if it is known here."""
        return self._found.get((instrument, *told_apart(attributes)))

    def size(self, instrument: Instrument) -> int:
        """Return how many series *instrument* has, the overflow series not counted."""
        return self._sizes[instrument]

    def size_of_all(self, *, own: bool) -> int:
        """Return how many series all instruments have, otelmon's own or all others."""
        return self._sizes_of_all[own]

    def read(self, records: Iterable[bytes]) -> None:
        """Take in records in the order in which they stand in the file."""
        for record in records:
            tag, *fields = json.loads(record)
            if tag == "i":
                instrument = _instrument(fields)
                self._numbers[instrument] = len(self.instruments)
                self.instruments.append(instrument)
            elif tag == "s":
                self._add(fields)
            elif tag == "r":
                self._rest(*fields)

    def _add(self, fields: list[Any]) -> None:
        number, pairs, base, sums = fields
        instrument = self.instruments[number]
        series = Series(instrument, _attributes(pairs), base, sums, len(self.series))
        self.series.append(series)
        if instrument.merge != "add":
            self.apart.append(series)
        self._found[(instrument, *told_apart(series.attributes))] = series
        if series.attributes != OVERFLOW:
            self._sizes[instrument] += 1
            self._sizes_of_all[instrument.own] += 1

    def _rest(self, number: int, weight: list[float]) -> None:
        if number not in self.resting:
            instrument = self.series[number].instrument
            self._sizes[instrument] -= 1
            self._sizes_of_all[instrument.own] -= 1
        self.resting[number] = tuple(weight)

    def announce(self, instrument: Instrument) -> bytes | None:
        """Return the record that makes *instrument* known, None if it is known already."""
        if instrument in self._numbers:
            return None
        fields = (
            instrument.name,
            instrument.kind,
            instrument.unit,
            instrument.description,
            instrument.bounds,
            instrument.scale,
            instrument.scope,
            instrument.merge,
        )
        return _encode("i", *fields)

    def place(
        self, instrument: Instrument, attributes: Attributes, base: int, sums: int = 0
    ) -> bytes:
        """Return the record that gives a series its lanes; its instrument must be known."""
        return _encode("s", self._numbers[instrument], attributes, base, sums)

    def rest(self, number: int, weight: Weight) -> bytes:
        """Return the record that puts a series to rest."""
        return _encode("r", number, weight)


def _encode(*fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _instrument(fields: list[Any]) -> Instrument:
    name, kind, unit, description, bounds, scale, (who, version, schema, pairs), merge = fields
    scope = Scope(who, version, schema, _attributes(pairs))
    return Instrument(name, kind, unit, description, tuple(bounds), scale, scope, merge)


def _attributes(pairs: Iterable[tuple[str, Any]]) -> Attributes:
    return tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in pairs)
