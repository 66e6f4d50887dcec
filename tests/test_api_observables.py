"""What callbacks say, of each process, merged as a view declares, whatever callbacks do."""

# ruff: noqa: ANN401 - the tests pass whatever an application may

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation

from otelmon import View, faults
from tests.forks import Child
from tests.recorded import Metered
from tests.recorder import this_instance
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

    from otelmon.ledger.identity import Identity
    from otelmon.ledger.instrument import Merge


SECONDS = 5.0


class Source:
    """What a callback says: what it is set to."""

    def __init__(self, *said: tuple[float, dict[str, Any] | None]) -> None:
        """Say *said*."""
        self.said = list(said)
        self.asked = 0

    def __call__(self, _: CallbackOptions) -> Iterable[Observation]:
        """Say it."""
        self.asked += 1
        return [Observation(*each) for each in self.said]


def failures() -> int:
    """Return how often an observable failed here."""
    found = faults.seen().get("observable")
    return found.times if found else 0


# -- merging -------------------------------------------------------------------------------------


class _Worker(Metered):
    """A process whose callbacks and gauge say one figure."""

    def __init__(self, place: Path, instance: Identity, merge: Merge | None) -> None:
        views = [View(instrument_name="*", merge=merge)] if merge else []
        super().__init__(place, instance, views=views)
        self.source = Source()
        self.meter.create_observable_counter("oc", [self.source])
        self.meter.create_observable_up_down_counter("ou", [self.source])
        self.meter.create_observable_gauge("og", [self.source])
        self.gauge = self.meter.create_gauge("g")

    def say(self, figure: float) -> None:
        """Have all say *figure*."""
        self.source.said = [(figure, None)]
        self.gauge.set(figure)
        assert self.provider.force_flush()


NAMES = ("oc", "ou", "og", "g")


@pytest.mark.parametrize(
    ("merge", "live", "one_dead"),
    [
        ("worker", {((), 0): 5, ((), 1): 2}, {((), 0): 5}),
        (None, {((), 0): 5, ((), 1): 2}, {((), 0): 5}),
        ("sum", {(): 7}, {(): 5}),
        ("min", {(): 2}, {(): 5}),
        ("max", {(): 5}, {(): 5}),
        ("recent", {(): 2}, {(): 2}),
    ],
)
def test_figures_of_many_processes_are_merged_as_declared(
    tmp_path: Path, merge: Merge | None, live: object, one_dead: object
) -> None:
    """While both live, and after the one that spoke last was killed."""
    instance = this_instance()
    with (
        Child(lambda: _Worker(tmp_path, instance, merge)) as first,
        Child(lambda: _Worker(tmp_path, instance, merge)) as last,
    ):
        first.call(_Worker.say, 5)
        last.call(_Worker.say, 2)
        for name in NAMES:
            assert first.call(Metered.shown, name) == live, name
        last.kill()
        for name in NAMES:
            counted = merge == "sum" and name == "oc"
            wanted = {(): 7} if counted else one_dead
            assert first.call(Metered.shown, name) == wanted, name


def test_a_summed_count_keeps_what_the_dead_counted_and_survives_a_new_beginning(
    tmp_path: Path,
) -> None:
    """A count that falls has begun anew; one that is said again counts once."""
    instance = this_instance()
    with Child(lambda: _Worker(tmp_path, instance, "sum")) as worker:
        for figure in (5, 5, 8, 2, 2, 3.5):
            worker.call(_Worker.say, figure)
        assert worker.call(Metered.figure, "oc") == 8 + 3.5
        worker.kill()
    with Child(lambda: _Worker(tmp_path, instance, "sum")) as worker:
        worker.call(_Worker.say, 1)
        assert worker.call(Metered.figure, "oc") == 8 + 3.5 + 1


# -- what is said --------------------------------------------------------------------------------


def test_what_is_said_no_longer_is_shown_no_longer() -> None:
    """Of a gauge; a summed count keeps what was counted, and goes on from there."""
    shop = Metered(views=[View(instrument_name="oc", merge="sum")])
    source = Source((1, {"q": "a"}), (2, {"q": "b"}))
    shop.meter.create_observable_gauge("og", [source])
    shop.meter.create_observable_counter("oc", [source])
    assert shop.provider.observe()
    source.said = [(0, {"q": "a"})]
    assert shop.provider.observe()
    assert shop.shown("og") == {((("q", "a"),), 0): 0}
    assert shop.shown("oc") == {(("q", "a"),): 1, (("q", "b"),): 2}
    source.said = [(5, {"q": "b"})]
    assert shop.provider.observe()
    assert shop.shown("oc") == {(("q", "a"),): 1, (("q", "b"),): 5}


def test_what_comes_to_one_series_is_added_up_and_of_a_gauge_the_last_word_counts() -> None:
    """As where a view drops the attribute that tells them apart."""
    shop = Metered(views=[View(attribute_keys={"a"}, merge="sum")])
    source = Source((1, {"a": 1, "b": 1}), (4, {"b": 2, "a": 1}))
    shop.meter.create_observable_gauge("og", [source])
    shop.meter.create_observable_up_down_counter("ou", [source])
    shop.meter.create_observable_counter("oc", [source])
    for _ in range(2):
        assert shop.provider.observe()
        found = [shop.figure(name) for name in ("og", "ou", "oc")]
        assert found == [4, 5, 5]


def test_past_the_limit_observed_counts_are_added_up_in_the_overflow() -> None:
    """Nothing that was said is left out."""
    shop = Metered(views=[View(merge="sum")], series_limit=2)
    source = Source(*((1, {"n": n}) for n in range(10)))
    shop.meter.create_observable_counter("oc", [source])
    for _ in range(2):
        assert shop.provider.observe()
    assert sorted(shop.shown("oc").values()) == [1, 1, 8]


# -- callbacks -----------------------------------------------------------------------------------


def _raises(_: CallbackOptions) -> Iterable[Observation]:
    raise KeyError


def _exits(_: CallbackOptions) -> Iterable[Observation]:
    raise SystemExit(3)


def _nothing(_: CallbackOptions) -> None:
    return


def _breaks(_: CallbackOptions) -> Iterable[Observation]:
    yield Observation(1)
    raise ValueError


def _ended() -> Generator[Iterable[Observation], CallbackOptions, None]:
    yield from ()


def _broken() -> Generator[Iterable[Observation], CallbackOptions, None]:
    yield []
    raise ValueError


@pytest.mark.parametrize(
    "make",
    [
        lambda: _raises,
        lambda: _exits,
        lambda: _nothing,
        lambda: _breaks,
        lambda: 5,
        _broken,
    ],
    ids=["raises", "exits", "says None", "breaks off", "is none", "broken generator"],
)
def test_a_callback_that_fails_is_told_and_harms_no_other(make: Callable[[], Any]) -> None:
    """Other callbacks, of the same instrument too, are recorded; it is asked again next time."""
    shop = Metered()
    shop.meter.create_observable_gauge("og", [make(), Source((1, None))])
    shop.meter.create_observable_counter("oc", [Source((2, None))])
    assert not shop.provider.observe()
    assert not shop.provider.force_flush() or make is _broken
    assert shop.shown("og") == {((), 0): 1}
    assert shop.shown("oc") == {((), 0): 2}
    assert failures() >= 1


def test_each_instrument_that_fails_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """With its own error, in `/health` and in one line of the log."""
    shop = Metered()
    for name, callback in (("og.a", _raises), ("og.b", _breaks), ("og.c", Source((1, None)))):
        shop.meter.create_observable_gauge(name, [callback])
    for _ in range(2):
        assert not shop.provider.observe()
    each = faults.seen()["observable"].each
    assert {name: (each[name].times, each[name].error) for name in each} == {
        "og.a": (2, "KeyError"),
        "og.b": (2, "ValueError"),
    }
    assert [record.getMessage().split()[:3] for record in caplog.records] == [
        ["observable", "og.a", "failed:"],
        ["observable", "og.b", "failed:"],
    ]


@pytest.mark.parametrize(
    "bad",
    [5, None, Observation("x"), Observation(1, 5), Observation(10**400)],  # type: ignore[arg-type]
)
def test_what_is_no_observation_is_left_out(bad: Any) -> None:
    """What else was said is recorded, and nothing old is left standing."""
    shop = Metered()
    source = Source((1, {"a": 1}))
    said: list[Any] = []
    shop.meter.create_observable_gauge("og", [source, lambda _: said])
    said[:] = [Observation(7, {"b": 1})]
    assert shop.provider.observe()
    said[:] = [Observation(8, {"c": 1}), bad]
    assert not shop.provider.observe()
    assert shop.shown("og") == {((("a", 1),), 0): 1, ((("c", 1),), 0): 8}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_observed_figures_must_be_finite(value: float) -> None:
    """What is none is unknown."""
    shop = Metered()
    shop.meter.create_observable_gauge("og", [Source((value, None))])
    assert shop.provider.observe()
    assert shop.rows("og") == []


def test_generators_are_sent_their_options_and_may_end() -> None:
    """One that has come to its end has nothing to say, and is no failure."""
    options: list[CallbackOptions] = []

    def twice() -> Generator[Iterable[Observation], CallbackOptions, None]:
        options.append((yield []))
        options.append((yield [Observation(1)]))
        yield [Observation(2)]

    shop = Metered()
    shop.meter.create_observable_gauge("og", [twice()])
    shop.meter.create_observable_gauge("none", [_ended()])
    said = []
    for _ in range(4):
        assert shop.provider.observe()
        said.append(shop.figure("og"))
    assert said == [1, 2, None, None]
    assert all(0 < each.timeout_millis <= SECONDS * 1000 for each in options)
    assert shop.rows("none") == []


class _Hanging(Metered):
    """A process with a callback that hangs until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.begun = 0
        self.hangs = False
        self.meter.create_observable_gauge("hangs", [self.callback, Source((7, {"other": True}))])
        self.meter.create_observable_gauge("works", [Source((1, None))])

    def callback(self, _: CallbackOptions) -> Iterable[Observation]:
        """Say one, perhaps much later."""
        self.begun += 1
        if self.hangs:
            self.go.wait()
        return [Observation(1)]


def test_a_callback_that_hangs_is_left_behind_and_never_started_twice() -> None:
    """Its figure is unknown meanwhile, others are told, and once it comes back it is as before."""
    shop = _Hanging()
    other = ((("other", True),), 0)
    assert shop.provider.observe()
    assert shop.shown("hangs") == {((), 0): 1, other: 7}
    shop.hangs = True
    for _ in range(3):
        assert not shop.provider.observe(seconds=0.05)
        assert until(lambda: shop.begun == 2)
        assert ((), 0) not in shop.shown("hangs")

    def others_work() -> bool:
        return not shop.provider.force_flush(5000) and shop.shown("works") == {((), 0): 1}

    # Of a call that took too long meanwhile only the next round has the answer.
    assert until(others_work)
    shop.hangs = False
    shop.go.set()
    deadline = threading.Event()
    while not shop.provider.observe(seconds=1) and not deadline.wait(0.01):
        pass
    assert shop.shown("hangs") == {((), 0): 1, other: 7}


def test_a_callback_that_is_slow_each_time_is_waited_for_once() -> None:
    """Once it was too slow it is asked without a wait, and answers the round after."""
    shop, go = Metered(), threading.Semaphore(0)
    begun: list[float] = []

    def slow(_: CallbackOptions) -> Iterable[Observation]:
        begun.append(time.monotonic())
        go.acquire()
        return [Observation(len(begun))]

    shop.meter.create_observable_gauge("og", [slow])
    assert not shop.provider.observe(seconds=0.05)
    for answer in (1, 2):
        # By its own clock too: its thread may have begun late.
        assert until(lambda: begun and time.monotonic() - begun[-1] > 0.1)
        go.release()
        assert until(lambda: shop.provider.observe(seconds=0.05))
        assert shop.shown("og") == {((), 0): answer}
        if answer == 1:
            # No round has asked it, and so none has waited.
            assert until(lambda: len(begun) == 2)
            assert not shop.provider.observe(seconds=0.05)
            assert shop.rows("og") == []
    go.release()


def test_callbacks_of_an_instrument_made_again_are_those_of_the_first_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same ones are asked once, others are not asked, and that is said once."""
    shop = Metered()
    first, second = Source((1, None)), Source((2, None))
    made = shop.meter.create_observable_gauge("og", [first])
    assert shop.meter.create_observable_gauge("og", [first]) is made
    assert shop.meter.create_observable_gauge("og") is made
    assert caplog.records == []
    for _ in range(2):
        assert shop.meter.create_observable_gauge("og", [second]) is made
    assert len(caplog.records) == 1
    assert shop.provider.observe()
    assert (first.asked, second.asked, shop.figure("og")) == (1, 0, 1)


def test_an_instrument_that_two_threads_make_at_once_is_asked_once() -> None:
    """However many lose the race."""
    shop = Metered(views=[View(merge="sum")])
    source = Source((1, None))
    begin = threading.Barrier(8)

    def make() -> None:
        begin.wait()
        for number in range(50):
            shop.meter.create_observable_counter(f"oc{number}", [source])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shop.provider.observe()
    assert source.asked == 50
    assert {shop.figure(f"oc{number}") for number in range(50)} == {1}


def test_what_is_dropped_by_a_view_is_not_shown() -> None:
    """And harms nobody."""
    shop = Metered(views=[View(instrument_name="og", drop=True)])
    shop.meter.create_observable_gauge("og", [Source((1, None))])
    assert shop.provider.observe()
    assert shop.rows("og") == []


# -- two threads at once ---------------------------------------------------------------------------


@pytest.fixture(name="patient")
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have time for callbacks, however slow the machine is."""
    monkeypatch.setattr("otelmon.metrics.api.provider.CALLBACK_SECONDS", 60.0)


class _Held(Metered):
    """A process whose callback is held while its gate is closed, and says how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.asked = 0
        self.meter.create_observable_gauge("og", [self.callback])
        assert self.provider.observe()

    def callback(self, _: CallbackOptions) -> Iterable[Observation]:
        self.asked += 1
        self.entered.set()
        self.gate.wait(60)
        return [Observation(self.asked)]

    def beats(self) -> threading.Thread:
        """Ask in a thread of its own, as the beat does; return once the callback is held."""
        self.gate.clear()
        self.entered.clear()
        beat = threading.Thread(target=self.provider.observe)
        beat.start()
        assert self.entered.wait(30)
        return beat


@pytest.mark.usefixtures("patient")
def test_a_flush_beside_the_beat_waits_for_it() -> None:
    """It asks after the beat has, and finds what is so then; nothing fails or is taken back."""
    shop = _Held()
    beat = shop.beats()
    opens = threading.Timer(0.2, shop.gate.set)
    opens.start()
    try:
        assert shop.provider.observe(seconds=60)
    finally:
        opens.join()
        beat.join()
    assert (shop.asked, shop.figure("og"), failures()) == (3, 3, 0)


@pytest.mark.usefixtures("patient")
def test_a_flush_without_the_time_to_wait_takes_nothing_back() -> None:
    """What the gauge said stays, and what the beat is told is recorded."""
    shop = _Held()
    beat = shop.beats()
    assert not shop.provider.observe(seconds=0.05)
    assert shop.figure("og") == 1
    shop.gate.set()
    beat.join()
    assert (shop.asked, shop.figure("og"), failures()) == (2, 2, 0)


def test_two_threads_that_ask_invent_no_count() -> None:
    """A counter merged over processes says at last what its callback did."""
    shop = Metered(views=[View(instrument_name="oc", merge="sum")])
    asked = 0

    def callback(_: CallbackOptions) -> Iterable[Observation]:
        nonlocal asked
        asked += 1
        return [Observation(asked, {"n": n}) for n in range(20)]

    shop.meter.create_observable_counter("oc", [callback])

    def ask() -> None:
        for _ in range(100):
            shop.provider.observe()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert shop.provider.observe()
    assert set(shop.shown("oc").values()) == {asked}
    assert failures() == 0
