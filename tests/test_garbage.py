"""The garbage collector is timed by what it calls itself, wherever and whenever it runs."""

from __future__ import annotations

import gc
import os
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from otelmon.errors import OtelmonError
from otelmon.instruments import garbage as module
from otelmon.instruments.garbage import Garbage
from otelmon.instruments.process import COLLECTIONS, PAUSE, of_generation
from otelmon.instruments.runtime import Runtime
from otelmon.metrics import processes
from tests.sources import Counts
from tests.test_host_metrics import run_python


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    """Listen to the real collector, which runs by itself no more."""
    gc.disable()
    source = Garbage()
    source.read()
    yield source
    source.close()
    gc.enable()


def collections(source: Garbage) -> list[float | None]:
    """Return the runs by generation."""
    said = source.read()
    return [said[of_generation(COLLECTIONS, generation)] for generation in range(3)]


def pauses(source: Garbage) -> list[float]:
    """Return the seconds by generation."""
    said = source.read()
    return [said[of_generation(PAUSE, generation)] or 0 for generation in range(3)]


def test_each_generation_has_its_runs_and_their_time(garbage: Garbage) -> None:
    """One run of the youngest, two of the next, one of all; each took no longer than its call."""
    took = [0] * 3
    for generation in (0, 1, 1, 2):
        began = time.perf_counter_ns()
        gc.collect(generation)
        took[generation] += time.perf_counter_ns() - began
    assert collections(garbage) == [1, 2, 1]
    for pause, whole in zip(pauses(garbage), took, strict=True):
        assert 0 < pause <= whole / 1e9


def test_the_time_is_that_between_both_calls() -> None:
    """To the nanosecond; an end without a start, of a run that was under way, is none."""
    times = iter([1_000, 3_500_000])
    callbacks: list[object] = []
    source = Garbage(callbacks=callbacks, clock=lambda: next(times))  # type: ignore[arg-type]
    assert collections(source) == [0, 0, 0]
    (heard,) = callbacks
    heard("stop", {"generation": 1})  # type: ignore[operator]
    heard("start", {"generation": 2})  # type: ignore[operator]
    heard("stop", {"generation": 2})  # type: ignore[operator]
    assert collections(source) == [0, 0, 1]
    assert pauses(source) == [0, 0, 0.003499]


def test_it_hears_of_any_thread_s_and_only_once(garbage: Garbage) -> None:
    """However often it is read, it is called once for each run, and not once it is closed."""
    for _ in range(3):
        garbage.read()
    threads = [threading.Thread(target=gc.collect, args=(1,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Of runs that would begin while another is under way the interpreter makes none.
    heard = collections(garbage)[1]
    assert heard is not None
    assert 1 <= heard <= 4
    garbage.close()
    garbage.close()
    gc.collect(1)
    assert garbage._collections[1] == heard


def test_to_hear_makes_nothing_that_the_collector_looks_at(garbage: Garbage) -> None:
    """A hundred thousand runs bring no further run nearer, and leave no memory behind."""
    info = {"generation": 0}

    def hear(times: int) -> None:
        for _ in range(times):
            garbage._heard("start", info)
            garbage._heard("stop", info)

    hear(100)
    tracked = gc.get_count()[0]
    tracemalloc.start()
    hear(100_000)
    counted = gc.get_count()[0]
    # Of its own lines: another thread, as xdist has one, may get a message meanwhile.
    own = tracemalloc.Filter(inclusive=True, filename_pattern=module.__file__)
    kept = tracemalloc.take_snapshot().filter_traces([own]).statistics("filename")
    tracemalloc.stop()
    assert abs(counted - tracked) < 50
    assert sum(each.size for each in kept) < 2_000


def test_it_may_run_in_the_middle_of_its_own_measuring() -> None:
    """With a run at nearly every object that is made, all is counted and nothing waits for itself."""
    counts = Counts()
    runtime = Runtime(counts.ledger)
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(50):
            runtime.measure()
            counts.request("/measured")
        stop = threading.Event()
        busy = threading.Thread(target=lambda: [[] for _ in iter(stop.is_set, True)])
        busy.start()
        for _ in range(50):
            runtime.measure()
        stop.set()
        busy.join()
    finally:
        gc.set_threshold(*before)
        runtime.close()
    told = processes.by_slot(counts.read())[0]["gc"]
    assert told["0"]["collections"] > 100
    assert told["0"]["pause_seconds"] > 0
    assert counts.read().finished == 50


def test_a_forked_child_has_collected_nothing(garbage: Garbage) -> None:
    """It does not listen before it measures itself, and its parent's runs are its parent's."""
    gc.collect(0)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        garbage.forget()
        quiet = garbage._heard not in gc.callbacks
        gc.collect(0)
        zero = collections(garbage) == [0, 0, 0]
        gc.collect(0)
        os.write(write, b"yes" if quiet and zero and collections(garbage) == [1, 0, 0] else b"no")
        os._exit(0)
    os.close(write)
    assert os.read(read, 10) == b"yes"
    os.close(read)
    os.waitpid(pid, 0)
    assert collections(garbage)[0] == 1


def test_greenlets_are_heard_too() -> None:
    """Under gevent runs in several greenlets and in a true thread are counted."""
    script = """
from gevent import monkey
monkey.patch_all()
import gc
import gevent
from gevent.threadpool import ThreadPool
from otelmon.instruments.garbage import Garbage
from otelmon.instruments.process import COLLECTIONS, of_generation

gc.disable()
garbage = Garbage()
garbage.read()

def work(number):
    for _ in range(10):
        gc.collect(1)
        gevent.sleep(0)

gevent.joinall([gevent.spawn(work, number) for number in range(4)], raise_error=True)
ThreadPool(1).spawn(gc.collect, 1).get()
print(garbage.read()[of_generation(COLLECTIONS, 1)])
"""
    assert run_python(script) == "41\n"


def test_an_interpreter_without_callbacks_is_a_source_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As PyPy: nothing is known, and the failure says why."""
    monkeypatch.delattr(gc, "callbacks")
    source = Garbage()
    with pytest.raises(OtelmonError, match=r"no gc\.callbacks"):
        source.read()
    source.close()
