"""Which Prometheus samples the series of a ledger are shown as."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

from otelmon import faults
from otelmon.errors import OtelmonError
from otelmon.ledger.instrument import OWN
from otelmon.metrics.families import (
    BySlot,
    Counter,
    Family,
    Histogram,
    Last,
    Merged,
    Rows,
    head,
    taken,
)
from otelmon.metrics.names import attribute_labels, family_name


if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from otelmon.ledger.instrument import Instrument, Series
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.families import Labels


class Shown(NamedTuple):
    """A family, and the series of its samples by their labels."""

    family: Family
    rows: dict[bytes, list[Series]]
    own: bool = True
    """It is of otelmon's own scope, and nobody else's series stand in it"""


class Plan:
    """What is known of the series that there are.

    Where series were added, another plan takes its place. None is changed once it is used, so
    threads need no lock.
    """

    def __init__(
        self,
        words: Mapping[Instrument, tuple[Family, ...]],
        *,
        own_names: AbstractSet[Instrument],
        others: frozenset[str],
    ) -> None:
        """Plan for no series yet.

        Instruments are shown as the families that *words* has for them; those it has none for, and
        those of *own_names* too, under their own name, unless that is among the names of *others*.
        """
        self._words = words
        self._own_names = own_names
        self._others = others
        self.series: tuple[Series, ...] = ()
        self.lanes = self.sums = 0
        self.places: dict[Instrument, tuple[str, ...]] = {
            instrument: tuple(family.name for family in families)
            for instrument, families in words.items()
        }
        self.shown = {
            family.name: Shown(family, {labels: [] for labels in _initial(family)})
            for families in words.values()
            for family in families
        }
        self.met: set[Instrument] = set()

    def upto(self, series: tuple[Series, ...]) -> Plan:
        """Return the plan for *series*, of which most are known: tables only grow."""
        known = len(self.series)
        # Equal tuples hold the same objects here, so this compares addresses.
        if series == self.series:
            return self
        grown = series[:known] == self.series
        plan = (
            self._copied()
            if grown
            else Plan(self._words, own_names=self._own_names, others=self._others)
        )
        for each in series[len(plan.series) :]:
            plan.add(each)
        plan.series = series
        return plan

    def samples(self, reading: Reading, *, openmetrics: bool) -> Iterator[bytes]:
        """Yield the text of all families."""
        merged = Merged(
            reading.lanes + [0] * (self.lanes - len(reading.lanes)),
            reading.sums + [0.0] * (self.sums - len(reading.sums)),
            reading.values,
            reading.recent,
            reading.slots,
        )
        for family, rows, _ in self.shown.values():
            yield head(family.name, family.kind, family.about, openmetrics=openmetrics)
            awake = _awake(rows, reading.resting) if reading.resting else rows
            yield from family.samples(awake, merged)

    def _copied(self) -> Self:
        plan = copy.copy(self)
        plan.places, plan.met = dict(self.places), set(self.met)
        plan.shown = {
            name: Shown(family, {labels: list(alike) for labels, alike in rows.items()}, own)
            for name, (family, rows, own) in self.shown.items()
        }
        return plan

    def add(self, series: Series) -> None:
        """Take in a series; nobody else may use this plan yet."""
        instrument = series.instrument
        if instrument not in self.met:
            self.met.add(instrument)
            if instrument in self._own_names or instrument not in self._words:
                self._name(instrument)
        found: dict[Labels, bytes | None] = {}
        for name in self.places[instrument]:
            family, rows, _ = self.shown[name]
            if family.labels not in found:
                found[family.labels] = family.labels(series.attributes)
            labels = found[family.labels]
            if labels is not None:
                rows.setdefault(labels, []).append(series)
        self.lanes = max(self.lanes, series.base + instrument.counts)
        self.sums = max(self.sums, series.sums + instrument.sums)

    def _name(self, instrument: Instrument) -> None:
        """Find the family that shows an instrument under its own name."""
        family, own = _family(instrument), instrument.scope == OWN
        held = self.shown.get(family.name)
        if held is None:
            free = taken(family.name, family.kind).isdisjoint(self.taken())
        elif _differ_in_bounds(held.family, family):
            # As after a reload of a changed application: the newest is right.
            self._hide(family.name)
            held, free = None, True
        else:
            free = _alike(held.family, family) and held.own == own
        if not free:
            faults.report("prometheus_family", _refusal(instrument, "that name is in use"))
            self.places.setdefault(instrument, ())
            return
        if held is None:
            self.shown[family.name] = Shown(family, {}, own)
        self.places[instrument] = (*self.places.get(instrument, ()), family.name)

    def taken(self) -> frozenset[str]:
        """Return all names that nothing else may have."""
        shown = (taken(each.family.name, each.family.kind) for each in self.shown.values())
        return self._others.union(*shown)

    def _hide(self, name: str) -> None:
        """Show the instruments of a family no longer."""
        del self.shown[name]
        for instrument, names in self.places.items():
            if name in names:
                self.places[instrument] = tuple(each for each in names if each != name)
                faults.report("prometheus_family", _refusal(instrument, "its bounds have changed"))


def _awake(rows: Rows, resting: Container[int]) -> Rows:
    """Leave out the samples all of whose series rest: the others must not fall by those that do."""
    return {
        labels: alike
        for labels, alike in rows.items()
        if not alike or any(series.number not in resting for series in alike)
    }


def _initial(family: Family) -> tuple[bytes, ...]:
    return family.initial if isinstance(family, Counter) else ()


_bucket_labels: Final = partial(attribute_labels, ours="le")
_worker_labels: Final = partial(attribute_labels, ours="worker")


def _family(instrument: Instrument) -> Family:
    name, about = family_name(instrument), instrument.description
    if instrument.merge == "add":
        if instrument.kind == "histogram":
            return Histogram(name, about, _bucket_labels, instrument.bounds, instrument.scale)
        return Counter(name, about, attribute_labels, instrument.scale)
    assert instrument.merge is not None
    if instrument.merge == "slot":
        return BySlot(name, about, _worker_labels, instrument.scale or 1.0)
    labels = _worker_labels if instrument.merge == "worker" else attribute_labels
    kind: Literal["counter", "gauge"] = "counter" if instrument.kind == "counter" else "gauge"
    return Last(name, about, labels, instrument.merge, kind)


def _alike(one: Family, other: Family) -> bool:
    """Tell whether series of both can stand in one family."""
    return replace(one, about=other.about) == other


def _differ_in_bounds(one: Family, other: Family) -> bool:
    if not (isinstance(one, Histogram) and isinstance(other, Histogram)):
        return False
    return one.bounds != other.bounds and _alike(replace(one, bounds=other.bounds), other)


def _refusal(instrument: Instrument, why: str) -> OtelmonError:
    return OtelmonError(
        f"The {instrument.kind} {instrument.name!r} of {instrument.scope.name!r} is not in the "
        f"Prometheus text: {why}."
    )
