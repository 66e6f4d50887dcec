"""Views: which instruments are shown otherwise than they were made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from otelmon.ledger.instrument import Instrument, Merge


# What counters and histograms do, `add`, is not among them: nothing else can be made to.
_MERGES: Final = ("worker", "sum", "min", "max", "recent")


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Says how the instruments that it matches are recorded; what is None changes nothing.

    `View(instrument_name="queue.*", merge="sum")` matches by names with the wildcards `*` and `?`,
    whatever their case. An instrument that several views match is recorded once for each of them.

    Raises ConfigError where its parts contradict each other.
    """

    instrument_name: str = "*"
    meter_name: str | None = None
    instrument_unit: str | None = None

    name: str | None = None
    description: str | None = None
    attribute_keys: AbstractSet[str] | None = None
    """Attributes that are kept; all others are added up"""
    boundaries: Sequence[float] | None = None
    """A histogram's upper bucket bounds, inclusive, strictly growing, without infinity"""
    merge: Merge | None = None
    """What the processes' gauges and observed figures come to: `worker`, each for itself; `sum`,
    `min` or `max` of the live ones; `recent`, what was said last, also if its process is dead.
    An observable counter that is summed keeps what the dead have counted."""
    drop: bool = False

    def __post_init__(self) -> None:
        """Judge it."""
        problems = [*self._problems()]
        bounds = list(self.boundaries or ())
        if self.name is not None and any(sign in self.instrument_name for sign in "*?"):
            problems.append(
                f"A view that names its stream {self.name!r} must match one instrument; "
                f"{self.instrument_name!r} can match many."
            )
        if bounds != sorted(set(bounds)) or not all(map(_is_finite, bounds)):
            problems.append(f"A view's boundaries must be finite and strictly grow: {bounds!r}.")
        if problems:
            raise ConfigError(*problems)
        if self.attribute_keys is not None:
            # Those of now: the application may go on to change its set.
            object.__setattr__(self, "attribute_keys", frozenset(self.attribute_keys))

    def _problems(self) -> Iterator[str]:
        if self.merge not in (None, *_MERGES):
            yield f"A view's merge must be one of {', '.join(_MERGES)}: {self.merge!r}."
        keys: object = self.attribute_keys
        if isinstance(keys, str):
            yield f"A view's attribute_keys must be a set of texts: {self.attribute_keys!r}."

    def matches(self, instrument: Instrument) -> bool:
        """Tell whether it is about *instrument*, as that was made."""
        return (
            fnmatchcase(instrument.name, self.instrument_name.lower())
            and self.meter_name in (None, instrument.scope.name)
            and self.instrument_unit in (None, instrument.unit)
        )

    def shown(self, instrument: Instrument, *, observed: bool) -> Instrument:
        """Return what an instrument is recorded as; only *observed* ones and gauges are merged."""
        merge = instrument.merge
        if self.merge is not None and (observed or instrument.kind == "gauge"):
            # Amounts can be summed for good, figures that go up and down only while they last.
            adds = self.merge == "sum" and instrument.kind == "counter"
            merge = "add" if adds else self.merge
        bounds = instrument.bounds
        if self.boundaries is not None and instrument.kind == "histogram":
            bounds = tuple(map(float, self.boundaries))
        return replace(
            instrument,
            name=(self.name or instrument.name).lower(),
            description=instrument.description if self.description is None else self.description,
            bounds=bounds,
            merge=merge,
        )


def _is_finite(bound: object) -> bool:
    return isinstance(bound, int | float) and float("-inf") < bound < float("inf")


class Stream(NamedTuple):
    """An instrument as it is recorded, and the attributes that are kept, all if that is None."""

    instrument: Instrument
    keep: AbstractSet[str] | None


def streams(instrument: Instrument, views: Iterable[View], *, observed: bool) -> list[Stream]:
    """Return what an instrument is recorded as: itself if no view matches, else one for each."""
    matching = [view for view in views if view.matches(instrument)]
    if not matching:
        return [Stream(instrument, None)]
    found: dict[Instrument, Stream] = {}
    for view in matching:
        if not view.drop:
            shown = view.shown(instrument, observed=observed)
            # Two views that come to the same would count everything twice.
            found.setdefault(shown, Stream(shown, view.attribute_keys))
    return list(found.values())
