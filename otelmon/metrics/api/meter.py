"""Meters: what makes the instruments of one scope."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry import metrics

from otelmon.ledger.instrument import Instrument
from otelmon.ledger.requests import SECONDS
from otelmon.metrics.api import fan, observable, synchronous
from otelmon.metrics.api.observable import Observed
from otelmon.metrics.api.view import streams


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import CallbackT

    from otelmon.ledger.instrument import Kind, Scope
    from otelmon.ledger.ledger import Ledger
    from otelmon.metrics.api.recorder import Recorder
    from otelmon.metrics.api.view import Stream, View


log = logging.getLogger("otelmon")

T = TypeVar("T")

# https://opentelemetry.io/docs/specs/otel/metrics/api/#instrument-name-syntax and -unit
_NAME: Final = re.compile(r"[a-zA-Z][-_./a-zA-Z0-9]{0,254}")
_UNIT: Final = re.compile(r"[\x00-\x7F]{0,63}")
# https://opentelemetry.io/docs/specs/otel/metrics/sdk/#explicit-bucket-histogram-aggregation
BOUNDS: Final = (
    *(0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0),
    *(1000.0, 2500.0, 5000.0, 7500.0, 10000.0),
)


class Meter(metrics.Meter):
    """Makes instruments; asked for one that there is, it returns that one.

    It takes no lock, because an instrument may be made in a GC callback that interrupts the making
    of another: each change is one call, which threads cannot divide.
    """

    def __init__(self, ledger: Ledger, scope: Scope, views: Sequence[View]) -> None:
        """Make the instruments of *scope*, recorded to *ledger* as *views* say."""
        super().__init__(scope.name, scope.version or None, scope.schema_url or None)
        self._ledger = ledger
        self._scope = scope
        self._views = views
        self._made: dict[object, Any] = {}
        self._firsts: dict[str, tuple[str, Instrument]] = {}
        self._warned: set[str] = set()
        self._silent = False
        self.recorders: list[Recorder] = []
        self.observed: dict[Observed, None] = {}

    def create_counter(self, name: str, unit: str = "", description: str = "") -> metrics.Counter:
        """Return a counter."""
        make = partial(self._recorded, synchronous.Counter, fan.Counter)
        return self._kept(name, "counter", unit, description, make, metrics.NoOpCounter)

    def create_up_down_counter(
        self, name: str, unit: str = "", description: str = ""
    ) -> metrics.UpDownCounter:
        """Return a counter that can fall; it is of its process, and vanishes with it."""
        make = partial(self._recorded, synchronous.UpDownCounter, fan.UpDownCounter)
        return self._kept(
            name, "up_down_counter", unit, description, make, metrics.NoOpUpDownCounter
        )

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> metrics._Gauge:
        """Return a gauge; each process has its own, unless a view merges them."""
        make = partial(self._recorded, synchronous.Gauge, fan.Gauge)
        return self._kept(name, "gauge", unit, description, make, metrics._NoOpGauge)  # noqa: SLF001 - as above

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        """Return a histogram.

        Its bounds are those of a view, else those advised, else for seconds those of the semantic
        conventions for HTTP, else the SDK's.
        """
        bounds = _advised(name, explicit_bucket_boundaries_advisory)
        if bounds is None:
            bounds = SECONDS if unit == "s" else BOUNDS
        make = partial(self._recorded, synchronous.Histogram, fan.Histogram)
        return self._kept(
            name, "histogram", unit, description, make, metrics.NoOpHistogram, bounds=bounds
        )

    def create_observable_counter(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
    ) -> metrics.ObservableCounter:
        """Return a counter whose callbacks are asked in every process, every MONITORING_INTERVAL."""
        make = partial(self._asked, observable.ObservableCounter, callbacks)
        noop = partial(metrics.NoOpObservableCounter, callbacks=callbacks)
        made = self._kept(name, "counter", unit, description, make, noop)
        return self._followed(made, callbacks)

    def create_observable_up_down_counter(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
    ) -> metrics.ObservableUpDownCounter:
        """Return a counter that can fall, asked for as an observable counter is."""
        make = partial(self._asked, observable.ObservableUpDownCounter, callbacks)
        noop = partial(metrics.NoOpObservableUpDownCounter, callbacks=callbacks)
        made = self._kept(name, "up_down_counter", unit, description, make, noop)
        return self._followed(made, callbacks)

    def create_observable_gauge(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
    ) -> metrics.ObservableGauge:
        """Return a gauge, asked for as an observable counter is."""
        make = partial(self._asked, observable.ObservableGauge, callbacks)
        noop = partial(metrics.NoOpObservableGauge, callbacks=callbacks)
        made = self._kept(name, "gauge", unit, description, make, noop)
        return self._followed(made, callbacks)

    def made(self) -> list[Instrument]:
        """Return what was made by now, as it was asked for the first time."""
        return [instrument for _, instrument in list(self._firsts.values())]

    def silence(self) -> None:
        """Have none of its instruments record any more, also those that are made from now on."""
        self._silent = True
        for recorder in list(self.recorders):
            recorder.silence()
        self.observed.clear()

    def _kept(  # noqa: PLR0913 - what an instrument is, and two ways to make it
        self,
        name: str,
        kind: Kind,
        unit: str | None,
        description: str | None,
        make: partial[Any],
        noop: Callable[..., T],
        *,
        bounds: tuple[float, ...] = (),
    ) -> T:
        """Return the instrument that was made before, or a new one; none is made of a bad name."""
        unit, description = str(unit or ""), str(description or "")
        if not _is_name(name) or _UNIT.fullmatch(unit) is None:
            self._warn(
                str(name),
                f"The {kind} {name!r} in {unit!r} records nothing: a name is a letter and up to 254 "
                "letters, digits, _ . - or /, a unit up to 63 characters of ASCII.",
            )
            return noop(name, unit=unit, description=description)
        instrument = Instrument(name.lower(), kind, unit, description, bounds, None, self._scope)
        key = (make.func, *make.args[:1], instrument.name, unit, description)
        made: T | None = self._made.get(key)
        if made is None:
            made = self._made.setdefault(key, make(instrument))
        # Also of one kind, what is added to is something else than what is asked for.
        one = (make.args[0].__name__, instrument)
        first = self._firsts.setdefault(instrument.name, one)
        if first != one:
            self._warn(
                instrument.name,
                f"{instrument.name!r} of {self._scope.name!r} is made in several ways: as {first}, "
                f"and as {one}. Give each a name of its own, or make them alike.",
            )
        return made

    def _followed(self, made: T, callbacks: Sequence[CallbackT] | None) -> T:
        """Have an observable instrument asked from now on, unless it is already."""
        if isinstance(made, Observed) and not self._silent:
            self.observed.setdefault(made)
            if callbacks and tuple(callbacks) != made.callbacks:
                self._warn(
                    f"{made.name} callbacks",
                    f"{made.name!r} of {self._scope.name!r} is created again with other callbacks: "
                    "only those of the first time are called.",
                )
        return made

    def _warn(self, name: str, message: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            log.warning("%s", message)

    def _streams(self, instrument: Instrument, *, observed: bool) -> list[Stream]:
        return streams(instrument, self._views, observed=observed)

    def _recorded(
        self, one: Callable[..., Recorder], many: Callable[..., Any], instrument: Instrument
    ) -> Any:  # noqa: ANN401 - as above
        parts = [one(self._ledger, *each) for each in self._streams(instrument, observed=False)]
        self.recorders.extend(parts)
        if self._silent:
            self.silence()
        return parts[0] if len(parts) == 1 else many(parts)

    def _asked(
        self,
        kind: Callable[..., Observed],
        callbacks: Sequence[CallbackT] | None,
        instrument: Instrument,
    ) -> Observed:
        instrument = replace(instrument, merge="worker")
        return kind(instrument.name, self._streams(instrument, observed=True), callbacks)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _advised(name: str, bounds: object) -> tuple[float, ...] | None:
    """Return the advised bounds; what cannot be bounds is not followed, and said."""
    if bounds is None:
        return None
    if isinstance(bounds, Sequence) and not isinstance(bounds, str):
        try:
            found = tuple(float(bound) for bound in bounds)
        except (TypeError, ValueError):
            found = (math.nan,)
        if list(found) == sorted(set(found)) and all(map(math.isfinite, found)):
            return found
    log.warning(
        "The boundaries advised for %s are not used: they must be finite numbers, each above the "
        "one before, and are %r.",
        name,
        bounds,
    )
    return None
