"""Any sequence of forks, recordings, deaths, claims and scrapes, against a model in plain Python.

The children are real processes; between two steps they are quiet, so every scrape must say exactly
what the model says, whoever is asked.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from otelmon.ledger import slots
from tests.forks import Child, forked
from tests.recorder import Recorder, figures, requests, this_instance, values


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.ledger.identity import Identity
    from otelmon.ledger.reader import Reading


ROUTES = ("/", "/cart", "/orders/{id}", "/report")
MOST_WORKERS = 4

_routes = st.sampled_from(ROUTES)
_times = st.integers(1, 1000)
_which = st.integers(0, MOST_WORKERS - 1)


@dataclass
class Life:
    """A worker as the model knows it."""

    child: Child[Recorder]
    in_flight: int = 0
    gauges: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)


@dataclass
class Model:
    """The truth."""

    started: int = 0
    lost: int = 0
    finished: dict[str, int] = field(default_factory=dict)
    duration: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    births: int = 0
    deaths: int = 0


class Ledger(RuleBasedStateMachine):
    """The workers of one instance, which come and go, and what they should have counted."""

    def __init__(self) -> None:
        """Begin without a worker."""
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="otelmon-states-"))
        self.instance = this_instance()
        self.model = Model()
        self.lives: list[Life] = []
        self.before: Reading | None = None

    @staticmethod
    def prepare() -> None:
        """Be what a child does before it serves: nothing, unless the product is to be broken."""

    def teardown(self) -> None:
        """End every worker."""
        for life in self.lives:
            life.child.kill()
        shutil.rmtree(self.place)
        super().teardown()

    def _life(self, which: int) -> Life:
        return self.lives[which % len(self.lives)]

    # -- processes -------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        """Have a worker."""
        self.claim()

    @precondition(lambda self: len(self.lives) < MOST_WORKERS)
    @rule()
    def claim(self) -> None:
        """Fork a worker, which claims a slot."""
        child = Child(lambda: _worker(self.prepare, self.place, self.instance))
        self.lives.append(Life(child))
        self.model.births += 1

    @precondition(lambda self: len(self.lives) < MOST_WORKERS and self.lives)
    @rule(which=_which)
    def fork(self, which: int) -> None:
        """Have a worker fork a child that serves for itself, and that dies with a request."""
        self._life(which).child.call(_fork)
        self.model.births += 1
        self.model.deaths += 1
        self.model.started += 2
        self.model.lost += 1
        self._finish("/", 1)

    @precondition(lambda self: self.lives)
    @rule(which=_which)
    def kill(self, which: int) -> None:
        """Kill a worker where it stands."""
        self._die(which, Child.kill)

    @precondition(lambda self: self.lives)
    @rule(which=_which)
    def exit(self, which: int) -> None:
        """Have a worker exit, whatever it has in flight."""
        self._die(which, Child.exit)

    def _die(self, which: int, end: Callable[[Child[Recorder]], None]) -> None:
        life = self._life(which)
        self.lives.remove(life)
        end(life.child)
        self.model.deaths += 1
        self.model.lost += life.in_flight

    # -- recordings ------------------------------------------------------------------------------

    @precondition(lambda self: self.lives)
    @rule(which=_which, times=_times)
    def begin_requests(self, which: int, times: int) -> None:
        """Begin requests."""
        life = self._life(which)
        life.child.call(Recorder.begin, times)
        life.in_flight += times
        self.model.started += times

    @precondition(lambda self: any(life.in_flight for life in self.lives))
    @rule(which=_which, route=_routes, times=_times)
    def end_requests(self, which: int, route: str, times: int) -> None:
        """End some of the requests in flight."""
        busy = [life for life in self.lives if life.in_flight]
        life = busy[which % len(busy)]
        times = min(times, life.in_flight)
        life.child.call(Recorder.end, route, times)
        life.in_flight -= times
        self._finish(route, times)

    def _finish(self, route: str, times: int) -> None:
        self.model.finished[route] = self.model.finished.get(route, 0) + times
        self.model.duration[route] = self.model.duration.get(route, 0) + times * 1_000_000

    @precondition(lambda self: self.lives)
    @rule(which=_which, name=st.text(max_size=5), amount=_times)
    def count(self, which: int, name: str, amount: int) -> None:
        """Add to a counter, often to a series that nobody had before."""
        self._life(which).child.call(Recorder.count, amount, (("name", name),))
        self.model.counted[name] = self.model.counted.get(name, 0) + amount

    @precondition(lambda self: self.lives)
    @rule(which=_which, of=_routes, value=st.floats(allow_nan=False).filter(bool))
    def gauge(self, which: int, of: str, value: float) -> None:
        """Set a value that dies with its process."""
        life = self._life(which)
        attributes = (("of", of),)
        life.child.call(Recorder.gauge, value, attributes)
        life.gauges[attributes] = value

    @precondition(lambda self: self.lives)
    @rule(which=_which)
    def beat(self, which: int) -> None:
        """Beat, which changes no figure."""
        self._life(which).child.call(Recorder.beat)

    # -- scrapes ---------------------------------------------------------------------------------

    @precondition(lambda self: self.lives)
    @rule(which=_which)
    def scrape(self, which: int) -> None:
        """Whoever is asked says what the model says."""
        self._check(self._life(which).child.call(Recorder.read))

    @invariant()
    def the_newest_worker_is_right(self) -> None:
        """After every step the worker whose slot has had the most owners is asked."""
        if self.lives:
            self._check(self.lives[-1].child.call(Recorder.read))

    def _check(self, reading: Reading) -> None:
        """Compare with the model, and with what was read before: nothing that counts falls."""
        model = self.model
        in_flight = sum(life.in_flight for life in self.lives)
        assert requests(reading) == model.finished
        assert reading.started == model.started
        assert reading.finished == sum(model.finished.values())
        assert reading.lost == model.lost
        assert reading.in_flight == in_flight
        assert reading.started == reading.finished + reading.lost + in_flight
        assert _counted(reading) == model.counted
        assert _durations(reading) == model.duration
        assert (reading.worker_starts, reading.worker_deaths) == (model.births, model.deaths)
        assert reading.shared
        assert reading.complete
        self._check_the_living(reading)
        self._check_that_nothing_fell(reading)

    def _check_the_living(self, reading: Reading) -> None:
        """The dead hold nothing, the living what they hold."""
        slots_ = {worker.pid: worker.slot for worker in reading.workers}
        assert sorted(slots_) == sorted(life.child.pid for life in self.lives)
        held: dict[tuple[tuple[str, str], ...], dict[int, float]] = {}
        for life in self.lives:
            for attributes, value in life.gauges.items():
                held.setdefault(attributes, {})[slots_[life.child.pid]] = value
        assert values(reading) == held

    def _check_that_nothing_fell(self, reading: Reading) -> None:
        before, self.before = self.before, reading
        if before is not None:
            assert reading.series[: len(before.series)] == before.series
            assert all(now >= then for now, then in zip(reading.lanes, before.lanes, strict=False))
            assert reading.lost >= before.lost
            assert reading.finished >= before.finished

    @invariant()
    def there_is_one_ledger(self) -> None:
        """However many processes there were, the files are the same, and few slots are used."""
        names = {path.name for path in self.place.iterdir()}
        assert names <= {"lock", "one.ledger", "one.slots"}


def _worker(prepare: Callable[[], None], place: Path, instance: Identity) -> Recorder:
    prepare()
    return Recorder(place, instance)


def _fork(recorder: Recorder) -> None:
    home = recorder.ledger._home
    assert home is not None

    def serve_and_die() -> None:
        recorder.ledger.forget()
        child = Recorder(*home)
        child.serve("/")
        child.begin()
        signal.raise_signal(signal.SIGKILL)

    assert forked(serve_and_die) == -signal.SIGKILL


def _counted(reading: Reading) -> dict[str, int]:
    return {
        str(dict(attributes)["name"]): lanes[0]
        for (instrument, attributes), lanes in figures(reading).items()
        if instrument == "test.counter"
    }


def _durations(reading: Reading) -> dict[str, int]:
    return {
        str(dict(attributes)["http.route"]): lanes[-1]
        for (instrument, attributes), lanes in figures(reading).items()
        if instrument == "http.server.request.duration"
    }


_SETTINGS = settings(max_examples=24, stateful_step_count=30, deadline=None)
# The first failure will do: to look for a shorter one would take minutes.
_UNTIL_RED = settings(
    _SETTINGS, max_examples=60, phases=[Phase.generate], report_multiple_bugs=False, database=None
)


@pytest.mark.timeout(300)
@pytest.mark.timeout(300)
def test_every_scrape_is_right_whatever_happened_before() -> None:
    """Forks, claims, requests, values, kills, exits and scrapes in any order."""
    run_state_machine_as_test(Ledger, settings=_SETTINGS)


def _forget_the_dead() -> None:
    """Break the product: a slot's next owner begins at zero, as if files were deleted at death."""

    def forget(counts: memoryview, known: object) -> None:
        for lane in range(len(counts)):
            counts[lane] = 0

    slots._settle = forget


def _forget_what_was_lost() -> None:
    """Break the product: what the dead had in flight stays in flight."""
    slots._settle = lambda counts, known: None


class _Forgetful(Ledger):
    prepare = staticmethod(_forget_the_dead)


class _Careless(Ledger):
    prepare = staticmethod(_forget_what_was_lost)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", [_Forgetful, _Careless])
def test_the_machine_finds_a_ledger_that_is_wrong(broken: type[Ledger]) -> None:
    """With claims that delete what the dead had counted, or keep what they lost, it goes red."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(broken, settings=_UNTIL_RED)
