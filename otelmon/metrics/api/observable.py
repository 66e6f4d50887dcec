"""The instruments whose figures are asked for: by the beat of every process, never by a scrape."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions

from otelmon import faults
from otelmon.errors import OtelmonError
from otelmon.metrics.api import amounts
from otelmon.metrics.api.attributes import normalised
from otelmon.threads import Errand


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.metrics import CallbackT, Observation

    from otelmon.ledger.hold import Hold
    from otelmon.ledger.instrument import Series
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen
    from otelmon.metrics.api.view import Stream

    Callback = Callable[[CallbackOptions], Iterable[Observation]]


class Observed:
    """An observable instrument in this process: its callbacks, and where their word is recorded."""

    def __init__(
        self, name: str, streams: Sequence[Stream], callbacks: Sequence[CallbackT] | None
    ) -> None:
        """Ask for nothing yet."""
        self._name = name
        self._callbacks = [_called(callback) for callback in callbacks or ()]
        self._outlets = [Outlet(stream) for stream in streams]
        self._options = CallbackOptions()
        self._errand = Errand(self._ask)

    def observe(self, ledger: Ledger, seconds: float) -> bool:
        """Ask the callbacks and record what they say; return whether all answered in time.

        Of what fails or does not answer nothing is known: what it said before is taken back.
        """
        said: list[Observation] = []
        failure: BaseException | None = None
        self._options = CallbackOptions(timeout_millis=seconds * 1000)
        try:
            said = self._errand.run(seconds)
        except Exception as error:  # noqa: BLE001 - the application's; it is asked again next time
            failure = error
        try:
            hold = ledger.holding()
            for outlet in self._outlets:
                outlet.record(hold, said)
        except Exception as error:  # noqa: BLE001 - as for any record
            failure = failure or error
        if failure is not None:
            problem = OtelmonError(f"{self._name} could not be observed: {failure!r}")
            faults.report("observable", problem.with_traceback(failure.__traceback__))
        return failure is None

    def forget(self) -> None:
        """Be as new in a forked child: a call that was under way is the parent's."""
        self._errand = Errand(self._ask)
        for outlet in self._outlets:
            outlet.forget()

    def _ask(self) -> list[Observation]:
        return [each for callback in self._callbacks for each in callback(self._options)]


def _called(callback: CallbackT) -> Callback:
    """Return a callback as a function; a generator is sent its options."""
    if not isinstance(callback, Generator):
        return callback
    next(callback)

    def send(options: CallbackOptions) -> Iterable[Observation]:
        try:
            return callback.send(options)
        except StopIteration:
            return ()

    return send


class Outlet:
    """One stream of an observable instrument, and what this process last recorded to it."""

    def __init__(self, stream: Stream) -> None:
        """Have recorded nothing."""
        self._instrument, self._keep = stream
        self._pen: Pen | None = None
        self._said: dict[Series, float] = {}

    def forget(self) -> None:
        """Be as new in a forked child."""
        self._pen, self._said = None, {}

    def record(self, hold: Hold, said: Sequence[Observation]) -> None:
        """Record what the callbacks say now, and take back what they say no longer."""
        pen = hold.pen
        assert pen is not None
        if pen is not self._pen:
            # Other memory has other lanes; what was counted has been moved there.
            self._pen, self._said = pen, _moved(self._said, hold)
        now = self._together(hold, said)
        with pen.lock:
            for series, value in now.items():
                self._store(pen, series, value)
            if self._instrument.values:
                for series in self._said.keys() - now.keys():
                    self._take_back(pen, series)
        self._said = self._said | now if self._instrument.merge == "add" else now

    def _together(self, hold: Hold, said: Sequence[Observation]) -> dict[Series, float]:
        """Return what is said of each series; of one gauge the last word counts."""
        found: dict[Series, float] = {}
        for each in said:
            value = amounts.number(each.value)
            attributes = normalised(each.attributes or {}, self._keep)
            series = hold.series(self._instrument, attributes) if math.isfinite(value) else None
            if series is not None:
                before = 0 if self._instrument.kind == "gauge" else found.get(series, 0)
                found[series] = before + value
        return found

    def _store(self, pen: Pen, series: Series, value: float) -> None:
        merge = self._instrument.merge
        if merge == "add":
            before = self._said.get(series, 0)
            # A count that falls has begun anew.
            grown = value - before if value >= before else value
            amounts.add(pen, series.base, series.sums, max(0, grown))
        elif merge == "recent":
            amounts.say_last(pen, series.sums, value)
        else:
            amounts.say(pen, series.base, value)
            for more in range(1, self._instrument.values):
                pen.values[series.base + more] = 1.0

    def _take_back(self, pen: Pen, series: Series) -> None:
        for lane in reversed(range(self._instrument.values)):
            pen.values[series.base + lane] = 0.0


def _moved(said: dict[Series, float], hold: Hold) -> dict[Series, float]:
    found = {hold.series(each.instrument, each.attributes): value for each, value in said.items()}
    return {series: value for series, value in found.items() if series is not None}


class ObservableCounter(Observed, metrics.ObservableCounter):
    """Reports a count that its callbacks keep."""


class ObservableUpDownCounter(Observed, metrics.ObservableUpDownCounter):
    """Reports a count that can fall."""


class ObservableGauge(Observed, metrics.ObservableGauge):
    """Reports a figure of the moment."""
