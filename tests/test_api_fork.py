"""Instruments before serving, over forks, in handlers, and when the ledger's file is gone."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelmon import View, faults
from otelmon.metrics.api.synchronous import Counter, Histogram
from tests.forks import Child
from tests.recorded import Metered
from tests.recorder import this_instance
from tests.tmpfs import leave, mounted


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from otelmon.ledger.identity import Identity


A: Final = {"a": "x"}
KEY: Final = (("a", "x"),)
VIEWS: Final = (View(instrument_name="recent", merge="recent"),)


class Shop(Metered):
    """A process with an instrument of each kind, and bound ones."""

    def __init__(
        self,
        place: Path | None = None,
        instance: Identity | None = None,
        *,
        serving: bool = True,
        **limits: int,
    ) -> None:
        """Make them."""
        super().__init__(place, instance, views=VIEWS, serving=serving, **limits)
        meter = self.meter
        counter, histogram = (
            meter.create_counter("counter"),
            meter.create_histogram("histogram", explicit_bucket_boundaries_advisory=[1]),
        )
        assert isinstance(counter, Counter)
        assert isinstance(histogram, Histogram)
        self.counter, self.histogram = counter, histogram
        self.up_down = meter.create_up_down_counter("up_down")
        self.gauge, self.recent = meter.create_gauge("gauge"), meter.create_gauge("recent")
        self.bound = self.counter.bind(A), self.histogram.bind(A)

    def record(self, times: int = 1) -> None:
        """Record to all."""
        for _ in range(times):
            self.counter.add(1, A)
            self.counter.add(0.5, A)
            self.bound[0].add(1)
            self.histogram.record(2, A)
            self.bound[1].record(0.5)
            self.up_down.add(3, A)
            self.gauge.set(36, A)
            self.recent.set(5, A)

    def told(self) -> dict[str, Any]:
        """Return what is shown of each."""
        names = ("counter", "histogram", "up_down", "gauge", "recent")
        return {name: self.shown(name) for name in names}

    def beat(self) -> None:
        """Show that this process lives, and follow the file."""
        self.ledger.beat(draining=False)

    def dropped(self) -> int:
        """Return how many records of its ancestors are counted nowhere."""
        return self.ledger.dropped


def _whole(times: int, processes: int = 1, slot: int = 0) -> dict[str, Any]:
    """Return what is shown after so many records in all, by so many live processes."""
    each = range(slot, slot + processes)
    return {
        "counter": {KEY: 2.5 * times},
        "histogram": {KEY: ((times, times), 2.5 * times)},
        "up_down": {KEY: 3 * times},
        "gauge": {(KEY, number): 36 for number in each},
        "recent": {KEY: 5},
    }


# -- before serving ------------------------------------------------------------------------------


def test_what_is_recorded_before_serving_is_shown_once_the_process_serves() -> None:
    """By the process that serves itself, all of it; until then force_flush says that it is not."""
    shop = Shop(serving=False)
    shop.record(2)
    assert shop.ledger.read() is None
    assert not shop.provider.force_flush()
    shop.serve()
    assert shop.told() == _whole(2)
    assert shop.provider.force_flush()
    shop.record()
    assert shop.told() == _whole(3)
    assert shop.dropped() == 0


class _Preloaded(Shop):
    """A worker of a server that had loaded its application before it forked."""

    def __init__(self, parent: Shop, place: Path, instance: Identity) -> None:
        """Take over all that the parent has made."""
        self.__dict__.update(parent.__dict__)
        self.forget()
        self.place, self.instance = place, instance

    def serve_now(self) -> None:
        """Begin to serve."""
        self.serve(self.place, self.instance)


def test_a_forked_child_has_its_parents_gauges_and_none_of_its_counts(tmp_path: Path) -> None:
    """Sums are the parent's: they are dropped and counted, as if it never served."""
    instance = this_instance()
    parent = Shop(serving=False)
    parent.record()
    with Child(lambda: _Preloaded(parent, tmp_path, instance)) as worker:
        worker.call(_Preloaded.serve_now)
        told = worker.call(Shop.told)
        assert told["gauge"] == {(KEY, 0): 36}
        assert told["recent"] == {KEY: 5}
        assert told["counter"] == told["histogram"] == told["up_down"] == {}
        assert worker.call(Shop.dropped) == 8
        worker.call(Shop.record, 2)
        assert worker.call(Shop.told) == _whole(2)


class _Grandchild(_Preloaded):
    """A worker whose parent recorded something itself between two forks."""

    def __init__(self, parent: Shop, place: Path, instance: Identity) -> None:
        """Be forked twice: what forgets is all that there is of a fork here."""
        super().__init__(parent, place, instance)
        self.counter.add(1)
        self.forget()


def test_gauges_come_down_over_several_forks(tmp_path: Path) -> None:
    """Also where a generation in between recorded something of its own."""
    instance = this_instance()
    parent = Shop(serving=False)
    parent.record()
    with Child(lambda: _Grandchild(parent, tmp_path, instance)) as worker:
        worker.call(_Preloaded.serve_now)
        assert worker.call(Metered.shown, "gauge") == {(KEY, 0): 36}
        assert worker.call(Metered.shown, "counter") == {}
        assert worker.call(Shop.dropped) == 9


def test_what_a_child_said_itself_is_newer_than_what_it_inherited(tmp_path: Path) -> None:
    """Before it served, too."""
    instance = this_instance()
    parent = Shop(serving=False)
    parent.record()
    with Child(lambda: _Preloaded(parent, tmp_path, instance)) as worker:
        worker.call(_set_gauge, 40)
        worker.call(_Preloaded.serve_now)
        assert worker.call(Metered.shown, "gauge") == {(KEY, 0): 40}


def _set_gauge(shop: Shop, figure: float) -> None:
    shop.gauge.set(figure, A)
    shop.recent.set(figure, A)


# -- forks ---------------------------------------------------------------------------------------


def _fork_and_record(shop: Shop) -> None:
    """Have a forked child record, with all that was found before, and end."""

    def make() -> Shop:
        shop.forget()
        shop.record(5)
        return shop

    with Child(make):
        pass


def test_a_workers_forked_child_writes_nothing_into_its_parents_slot(tmp_path: Path) -> None:
    """What it records is its own, and nobody's unless it serves."""
    instance = this_instance()
    with Child(lambda: Shop(tmp_path, instance)) as worker:
        worker.call(Shop.record, 2)
        worker.call(_fork_and_record)
        assert worker.call(Shop.told) == _whole(2)
        worker.call(Shop.record)
        assert worker.call(Shop.told) == _whole(3)


def test_a_workers_forked_child_that_serves_counts_beside_it(tmp_path: Path) -> None:
    """In a slot of its own, through instruments and bound ones that were made before the fork."""
    instance = this_instance()
    parent = Shop(serving=False)
    with (
        Child(lambda: _Preloaded(parent, tmp_path, instance)) as one,
        Child(lambda: _Preloaded(parent, tmp_path, instance)) as other,
    ):
        for worker in (one, other):
            worker.call(_Preloaded.serve_now)
            worker.call(Shop.record, 2)
        assert one.call(Shop.told) == other.call(Shop.told) == _whole(4, processes=2)
        other.kill()
        told = one.call(Shop.told)
        assert told == {**_whole(4), "up_down": {KEY: 6}}


# -- the file ------------------------------------------------------------------------------------


def test_a_process_takes_what_it_recorded_along_to_another_file(tmp_path: Path) -> None:
    """All kinds, and bound instruments go on there, for which the same attributes lie elsewhere."""
    instance = this_instance()
    with Child(lambda: Shop(tmp_path, instance)) as worker:
        worker.call(Shop.record, 2)
        for file in tmp_path.glob("*.ledger"):
            file.unlink()
        worker.call(Shop.record)
        worker.call(Shop.beat)
        assert list(tmp_path.glob("*.ledger"))
        assert worker.call(Shop.told) == _whole(3)
        worker.call(Shop.record)
        assert worker.call(Shop.told) == _whole(4)
        with Child(lambda: Shop(tmp_path, instance)) as other:
            assert other.call(Shop.told) == _whole(4)


def _record_anew(shop: Shop, name: str) -> None:
    shop.counter.add(1, {"new": name})
    shop.meter.create_histogram(name).record(1)


def test_a_full_file_system_harms_nobody_and_known_series_count_on(tmp_path: Path) -> None:
    """At each new series; once there is space again, they are had."""
    instance = this_instance()
    with (
        mounted(tmp_path / "small", pages=1024) as place,
        Child(lambda: Shop(place, instance)) as worker,
    ):
        worker.call(Shop.record)
        leave(place, 0)
        for number in range(200):
            worker.call(_record_anew, f"h{number}")
        worker.call(Shop.record)
        assert worker.call(Metered.shown, "counter")[KEY] == 5
        leave(place, 200)
        worker.call(_record_anew, "after")
        assert worker.call(Metered.shown, "counter")[(("new", "after"),)] == 1


def test_where_there_are_no_lanes_the_record_is_lost_and_others_count() -> None:
    """It is a fault, not an exception, and what fits is still placed."""
    shop = Shop()
    shop.record()
    for number in range(6):
        wide = shop.meter.create_histogram(
            f"h{number}", explicit_bucket_boundaries_advisory=list(range(60_000))
        )
        wide.record(1)
        wide.record(1)
    shop.meter.create_counter("small").add(1)
    assert faults.seen()["metric"].times >= 2
    assert shop.figure("small") == 1
    assert [len(shop.rows(f"h{number}")) for number in range(6)] == [1, 1, 1, 1, 0, 0]
    shop.record()
    assert shop.told() == _whole(2)


# -- interruptions -------------------------------------------------------------------------------


class _Interrupting:
    """Calls *handle* once, as a handler would: at the n-th of the lines that *work* comes to."""

    def __init__(self, line: int, handle: Callable[[], None]) -> None:
        """Wait for that line."""
        self._left = line
        self._handle = handle
        self._seen: set[tuple[str, int]] = set()
        self.done = False

    def run(self, work: Callable[[], None]) -> None:
        """Do the work."""
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            work()
        finally:
            sys.settrace(before)

    def _called(self, frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - its own type
        return self._reached if "/otelmon/" in frame.f_code.co_filename else None

    def _reached(self, frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - as above
        place = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and not self.done and place not in self._seen:
            self._seen.add(place)
            self._left -= 1
            if self._left < 0:
                self.done = True
                self._handle()
        return self._reached


def _interrupted_everywhere(
    make: Callable[[], Shop], work: Callable[[Shop], None], handle: Callable[[Shop], None]
) -> Iterator[Shop]:
    """Yield a shop for each line at which the work was interrupted."""
    line, done = 0, True
    while done:
        shop = make()
        interrupting = _Interrupting(line, lambda shop=shop: handle(shop))  # type: ignore[misc]
        interrupting.run(lambda shop=shop: work(shop))  # type: ignore[misc]
        done = interrupting.done
        if done:
            yield shop
        line += 1
    assert line > 50


def _first(shop: Shop) -> None:
    shop.counter.add(1, {"by": "work"})


def _new_series(shop: Shop) -> None:
    shop.counter.add(10, {"by": "handler"})
    shop.histogram.record(10)


def _new_instrument(shop: Shop) -> None:
    shop.meter.create_counter("late").add(1, {"by": "anybody"})


@pytest.mark.parametrize("serving", [True, False], ids=["serving", "early"])
def test_a_handler_that_interrupts_the_first_record_loses_nothing(*, serving: bool) -> None:
    """At whichever line it comes, with series that nobody has met."""
    for shop in _interrupted_everywhere(lambda: Shop(serving=serving), _first, _new_series):
        if not serving:
            shop.serve()
        assert shop.shown("counter") == {(("by", "work"),): 1, (("by", "handler"),): 10}
        assert shop.shown("histogram") == {(): ((0, 1), 10)}
    assert faults.seen() == {}


def test_an_instrument_made_in_a_handler_is_the_one_that_is_being_made() -> None:
    """At whichever line the handler comes, both count to the same."""
    for shop in _interrupted_everywhere(Shop, _new_instrument, _new_instrument):
        assert shop.shown("late") == {(("by", "anybody"),): 2}


def test_a_handler_that_interrupts_a_reader_loses_nothing() -> None:
    """A scrape reads the table of series too."""

    def work(shop: Shop) -> None:
        shop.read()

    for shop in _interrupted_everywhere(Shop, work, _new_series):
        assert shop.shown("counter") == {(("by", "handler"),): 10}


@pytest.mark.parametrize("serving", [True, False], ids=["serving", "early"])
def test_threads_that_meet_everything_at_once_lose_nothing(*, serving: bool) -> None:
    """The first records of a process too, also before it serves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    shop = Shop(serving=serving)
    begin = threading.Barrier(4)

    def work() -> None:
        begin.wait()
        for number in range(300):
            shop.counter.add(1, {"n": number % 50})
            shop.meter.create_counter(f"c{number % 20}").add(1)
            shop.up_down.add(-1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    if not serving:
        shop.serve()
    assert set(shop.shown("counter").values()) == {24}
    assert {shop.figure(f"c{number}") for number in range(20)} == {60}
    assert shop.figure("up_down") == -1200
