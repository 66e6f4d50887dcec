"""Which Prometheus samples the series of a ledger are shown as."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache, partial
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
from otelmon.metrics.names import attribute_labels, family_name, label_text


if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from otelmon.ledger.instrument import Attributes, Instrument, Series
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.families import Labels


Owner = Literal["otelmon", "observed", "application"]
"""Whose figures: otelmon's, what it measures of libraries, what is measured through the API"""


class Place(NamedTuple):
    """Where series are shown: in a family, beside the others of it where a scope is named."""

    family: str
    scope: str = ""


class Shown(NamedTuple):
    """A family, or a part of one, and the series of its samples by their labels."""

    family: Family
    rows: dict[bytes, list[Series]]
    owner: Owner
    scopes: frozenset[str]
    """The names of those who record them"""

    def copied(self) -> Shown:
        """Return one that may be changed."""
        return self._replace(rows={labels: list(alike) for labels, alike in self.rows.items()})

    def add(self, series: Series) -> None:
        """Take in a series, unless it has no labels here."""
        labels = self.family.labels(series.attributes)
        if labels is not None:
            self.rows.setdefault(labels, []).append(series)


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
        self.places: dict[Instrument, tuple[Place, ...]] = {
            instrument: tuple(Place(family.name) for family in families)
            for instrument, families in words.items()
        }
        self.shown = {
            Place(family.name): Shown(
                family,
                {labels: [] for labels in _initial(family)},
                "otelmon",
                frozenset({OWN.name}),
            )
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
        by_name: dict[str, list[Shown]] = {}
        for place, shown in self.shown.items():
            by_name.setdefault(place.family, []).append(shown)
        for name, parts in by_name.items():
            family = parts[0].family
            yield head(name, family.kind, family.about, openmetrics=openmetrics)
            for part, rows, *_ in parts:
                awake = _awake(rows, reading.resting) if reading.resting else rows
                yield from part.samples(awake, merged)

    def _copied(self) -> Self:
        plan = copy.copy(self)
        plan.places, plan.met = dict(self.places), set(self.met)
        plan.shown = {place: each.copied() for place, each in self.shown.items()}
        return plan

    def add(self, series: Series) -> None:
        """Take in a series; nobody else may use this plan yet."""
        instrument = series.instrument
        if instrument not in self.met:
            self.met.add(instrument)
            if instrument in self._own_names or instrument not in self._words:
                self._name(instrument)
        for place in self.places[instrument]:
            self.shown[place].add(series)
        self.lanes = max(self.lanes, series.base + instrument.counts)
        self.sums = max(self.sums, series.sums + instrument.sums)

    def _name(self, instrument: Instrument) -> None:
        """Find the family that shows an instrument under its own name."""
        place = self._place(instrument)
        if place is None:
            _leave_out(instrument, "that name is in use")
            self.places.setdefault(instrument, ())
        else:
            self._show(instrument, place)
            self.places[instrument] = (*self.places.get(instrument, ()), place)

    def _place(self, instrument: Instrument) -> Place | None:
        """Return where an instrument can stand; what stands there otherwise has made way."""
        family, owner, scope = _family(instrument), _owner(instrument), instrument.scope.name
        place = Place(family.name)
        held = self.shown.get(place)
        if held is None:
            return place if taken(family.name, family.kind).isdisjoint(self.taken()) else None
        strange = held.owner != owner
        if held.family.kind != family.kind or (strange and "otelmon" in {held.owner, owner}):
            return None
        if strange and owner == "observed":
            self._step_aside(place)
            return place
        if strange or not (scope in held.scopes or _alike(held.family, family)):
            place, family = Place(family.name, scope), _beside(family, scope)
        there = self.shown.get(place)
        newer = there is not None and _differ_in_bounds(there.family, family)
        if newer:
            # As after a reload of a changed application: the newest is right.
            self._hide(place)
        return place if newer or there is None or _alike(there.family, family) else None

    def _show(self, instrument: Instrument, place: Place) -> None:
        """Have an instrument's series stand at a place too."""
        family, scopes = _family(instrument), frozenset({instrument.scope.name})
        held = self.shown.get(place)
        if held is not None:
            self.shown[place] = held._replace(scopes=held.scopes | scopes)
        else:
            family = _beside(family, place.scope) if place.scope else family
            self.shown[place] = Shown(family, {}, _owner(instrument), scopes)

    def _step_aside(self, place: Place) -> None:
        """Show what stands at a place beside it, as if it had come after what otelmon measures."""
        held = self.shown.pop(place)
        for instrument, places in self.places.items():
            if place in places:
                aside = Place(place.family, instrument.scope.name)
                self._show(instrument, aside)
                self.places[instrument] = (*(each for each in places if each != place), aside)
        for alike in held.rows.values():
            for series in alike:
                self.shown[Place(place.family, series.instrument.scope.name)].add(series)

    def taken(self) -> frozenset[str]:
        """Return all names that nothing else may have."""
        shown = (taken(each.family.name, each.family.kind) for each in self.shown.values())
        return self._others.union(*shown)

    def _hide(self, place: Place) -> None:
        """Show the instruments of a place no longer."""
        del self.shown[place]
        for instrument, places in self.places.items():
            if place in places:
                self.places[instrument] = tuple(each for each in places if each != place)
                _leave_out(instrument, "its bounds have changed")


def _awake(rows: Rows, resting: Container[int]) -> Rows:
    """Leave out the samples all of whose series rest: the others must not fall by those that do."""
    return {
        labels: alike
        for labels, alike in rows.items()
        if not alike or any(series.number not in resting for series in alike)
    }


def _initial(family: Family) -> tuple[bytes, ...]:
    return family.initial if isinstance(family, Counter) else ()


_bucket_labels: Final = partial(attribute_labels, ours=("le",))
_worker_labels: Final = partial(attribute_labels, ours=("worker",))

# https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#instrumentation-scope-1
_SCOPE_LABEL: Final = "otel_scope_name"


def _owner(instrument: Instrument) -> Owner:
    if instrument.scope == OWN:
        return "otelmon"
    return "observed" if instrument.own else "application"


def _beside(family: Family, scope: str) -> Family:
    """Return a family whose labels name the scope too."""
    return replace(family, labels=_scope_labels(scope))


@cache
def _scope_labels(scope: str) -> Labels:
    before = label_text([(_SCOPE_LABEL, scope)])

    def labels(attributes: Attributes) -> bytes:
        own = attribute_labels(attributes, ours=("le", "worker", _SCOPE_LABEL))
        return before + b"," + own if own else before

    return labels


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


def _leave_out(instrument: Instrument, why: str) -> None:
    which = f"The {instrument.kind} {instrument.name!r} of {instrument.scope.name!r}"
    error = OtelmonError(f"{which} is not in the Prometheus text: {why}.")
    faults.report("prometheus_family", error, of=instrument.name)
