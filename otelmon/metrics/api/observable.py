"""The instruments whose figures are asked for: by the beat of every process, never by a scrape."""

from __future__ import annotations

import _thread
import math
import time
import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions

from otelmon import faults
from otelmon.ledger.pen import no_pen
from otelmon.metrics.api import amounts
from otelmon.metrics.api.attributes import normalised
from otelmon.threads import Errand, original


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.metrics import CallbackT, Observation

    from otelmon.ledger.hold import Hold
    from otelmon.ledger.instrument import Series
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen
    from otelmon.metrics.api.view import Stream

    Said = tuple[float, Mapping[str, object]]


class Observed:
    """An observable instrument in this process: its callbacks, and where their word is recorded."""

    def __init__(
        self, name: str, streams: Sequence[Stream], callbacks: Sequence[CallbackT] | None
    ) -> None:
        """Ask for nothing yet."""
        self.name = name
        self.callbacks = tuple(callbacks or ())
        self._questions = [_Question(callback) for callback in self.callbacks]
        self._outlets = [Outlet(stream) for stream in streams]
        self._lock = original(_thread, "allocate_lock")()

    def observe(self, ledger: Ledger, seconds: float) -> bool:
        """Ask the callbacks and record what they say; return whether all answered in time.

        Of what fails or does not answer nothing is known: what it said before is taken back. The
        others are recorded all the same. Of two threads one waits for the other, and asks after
        it; if what is left of its time is not enough for that, it takes nothing back either.
        """
        until = time.monotonic() + seconds
        lock = self._lock
        waits = not lock.acquire(False)
        if waits and not lock.acquire(True, seconds):
            return False
        try:
            if waits and self._takes() >= until - time.monotonic():
                return False
            failures = self._observed(ledger, until)
        finally:
            lock.release()
        # Not before: a handler of the log may have another greenlet of this thread go on.
        for failure in failures:
            faults.report("observable", failure, of=self.name)
        return not failures

    def _takes(self) -> float:
        """Return for how many seconds the callbacks were asked the last time, together."""
        return sum(question.took for question in self._questions)

    def _observed(self, ledger: Ledger, until: float) -> list[Exception]:
        """Ask and record, the caller being alone; return what failed."""
        said: list[Said] = []
        failures: list[Exception] = []
        for question in self._questions:
            try:
                answer = question.ask(max(0.0, until - time.monotonic()))
            except Exception as error:  # noqa: BLE001 - the application's; it is asked again next time
                failures.append(error)
            else:
                said += _read(answer, failures)
        try:
            hold = ledger.holding()
            for outlet in self._outlets:
                outlet.record(hold, said)
        except Exception as error:  # noqa: BLE001 - as for any record
            failures.append(error)
        return failures

    def forget(self) -> None:
        """Be as new in a forked child: a call that was under way is the parent's."""
        self._lock = original(_thread, "allocate_lock")()
        for question in self._questions:
            question.forget()
        for outlet in self._outlets:
            outlet.forget()


class _Question:
    """A callback, asked in a thread of its own because it may hang."""

    def __init__(self, callback: CallbackT) -> None:
        """Ask nothing yet; not even a generator for its first answer, which may fail."""
        self._callback = callback
        self._begun = False
        self._given = 0.0
        self.took = 0.0
        """Seconds, the last time"""
        self._options = CallbackOptions()
        self._errand = Errand(self._answer)

    def ask(self, seconds: float) -> list[Observation]:
        """Return what it says within *seconds*, or raise what it raises.

        One that took longer once is not waited for again before it is quick: it is asked at once for
        the next round, and then says what it found since this one.
        """
        if self._errand.idle and self.took <= seconds > 0:
            self._given = seconds
        self._options = CallbackOptions(timeout_millis=self._given * 1000)
        try:
            return self._errand.run(seconds, old=True)
        finally:
            if self.took > self._given:
                self._errand.start()

    def forget(self) -> None:
        """Be as new in a forked child."""
        self._errand = Errand(self._answer)
        self._given = self.took = 0.0

    def _answer(self) -> list[Observation]:
        began = time.monotonic()
        try:
            if isinstance(self._callback, Generator):
                return list(self._sent(self._callback))
            return list(self._callback(self._options))
        finally:
            self.took = time.monotonic() - began

    def _sent(
        self, generator: Generator[Iterable[Observation], CallbackOptions, None]
    ) -> Iterable[Observation]:
        """Send a generator its options; one that has come to its end has nothing to say."""
        try:
            if not self._begun:
                self._begun = True
                next(generator)
            return generator.send(self._options)
        except StopIteration:
            return ()


def _read(answer: Iterable[Observation], failures: list[Exception]) -> Iterator[Said]:
    """Yield what was observed as plain numbers; what is no observation is added to *failures*."""
    for each in answer:
        try:
            value = amounts.number(each.value)
            if math.isfinite(value):
                yield value, dict(each.attributes or {})
        except Exception as error:  # noqa: BLE001 - the application's; the others are recorded
            failures.append(error)


class Outlet:
    """One stream of an observable instrument, and what this process last recorded to it."""

    def __init__(self, stream: Stream) -> None:
        """Have recorded nothing."""
        self._instrument, self._keep = stream
        # Weak, as a pen holds the ledger's memory: a closed monitor is to leave none behind.
        self._pen: Callable[[], Pen | None] = no_pen
        self._said: dict[Series, float] = {}

    def forget(self) -> None:
        """Be as new in a forked child."""
        self._pen, self._said = no_pen, {}

    def record(self, hold: Hold, said: Sequence[Said]) -> None:
        """Record what the callbacks say now, and take back what they say no longer."""
        pen = hold.pen
        assert pen is not None
        if pen is not self._pen():
            # Other memory has other lanes; what was counted has been moved there.
            self._pen, self._said = weakref.ref(pen), _moved(self._said, hold)
        now = self._together(hold, said)
        with pen.lock:
            for series, value in now.items():
                self._store(pen, series, value)
            if self._instrument.values:
                for series in self._said.keys() - now.keys():
                    self._take_back(pen, series)
        self._said = self._said | now if self._instrument.merge == "add" else now

    def _together(self, hold: Hold, said: Sequence[Said]) -> dict[Series, float]:
        """Return what is said of each series; of one gauge the last word counts."""
        found: dict[Series, float] = {}
        for value, attributes in said:
            series = hold.series(self._instrument, normalised(attributes, self._keep))
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
