"""Queues and thread pools: what waits, what runs, and nothing that is kept alive for it."""

from __future__ import annotations

import collections
import gc
import multiprocessing
import os
import queue
import signal
import threading
import time
import weakref
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from otelmon import ConfigError, faults
from otelmon.instruments.queues import observe_queue
from otelmon.ledger.requests import SECONDS
from tests.metered import Metered
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable


DEPTH: Final = "otelmon.queue.depth"
THREADS: Final = "otelmon.executor.thread.count"
LIMIT: Final = "otelmon.executor.thread.limit"
WAITED: Final = "otelmon.executor.wait.duration"
RAN: Final = "otelmon.executor.task.duration"
NAME: Final = "otelmon.queue.name"


@pytest.fixture(name="metered")
def _metered() -> Metered:
    return Metered()


class Line:
    """A queue of somebody's own."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.waiting: list[object] = []

    def put(self, item: object) -> None:
        """Add an item."""
        self.waiting.append(item)

    def qsize(self) -> int:
        """Return how many there are."""
        if self.error is not None:
            raise self.error
        return len(self.waiting)


def _named(metered: Metered, instrument: str = DEPTH) -> dict[object, float]:
    return {key: value for (key,), value in metered.by(instrument, NAME).items()}


# -- queues ----------------------------------------------------------------------------------------


QUEUES: Final[dict[str, tuple[Callable[[], Any], str]]] = {
    "queue.Queue": (queue.Queue, "put"),
    "queue.LifoQueue": (queue.LifoQueue, "put"),
    "queue.PriorityQueue": (queue.PriorityQueue, "put"),
    "queue.SimpleQueue": (queue.SimpleQueue, "put"),
    "collections.deque": (collections.deque, "append"),
    "somebody's own": (Line, "put"),
}


@pytest.mark.parametrize(("make", "put"), QUEUES.values(), ids=QUEUES.keys())
def test_the_depth_is_what_waits(make: Callable[[], Any], put: str, metered: Metered) -> None:
    """At each collection the gauge is the number of items, 0 for none."""
    items = make()
    with observe_queue(items, "mails", meter=metered.meter):
        assert metered.figures(DEPTH) == {frozenset({(NAME, "mails")}): 0}
        for number in range(3):
            getattr(items, put)(number)
        assert _named(metered) == {"mails": 3}

    assert _named(metered) == {}


def test_a_queue_between_processes_has_a_depth(metered: Metered) -> None:
    """What one process has put into a multiprocessing.Queue, another sees waiting."""
    items: multiprocessing.Queue[int] = multiprocessing.get_context("fork").Queue()
    with observe_queue(items, "jobs", meter=metered.meter):
        items.put(1)
        assert _named(metered) == {"jobs": 1}
        items.get(timeout=60)
    items.close()
    items.join_thread()


@given(st.lists(st.sampled_from(["put", "get"]), max_size=50))
def test_whatever_is_put_and_taken_the_depth_is_right(steps: list[str]) -> None:
    """After any row of steps the gauge is what the queue holds."""
    metered, items = Metered(), queue.Queue[int]()
    held = 0
    with observe_queue(items, "q", meter=metered.meter):
        for step in steps:
            if step == "put":
                items.put(0)
                held += 1
            elif held:
                items.get_nowait()
                held -= 1
        assert _named(metered) == {"q": held}


def test_queues_of_one_name_are_added_up(metered: Metered) -> None:
    """Two queues with one name are one series, their sum."""
    first, second = collections.deque([1, 2]), collections.deque([3])
    observe_queue(first, "q", meter=metered.meter)
    observe_queue(second, "q", meter=metered.meter)

    assert _named(metered) == {"q": 3}


def test_the_same_queue_counts_once(metered: Metered) -> None:
    """Observed again, a queue has its newest name; the first result closes nothing any more."""
    items = collections.deque([1, 2])
    first = observe_queue(items, "old", meter=metered.meter)
    second = observe_queue(items, "new", meter=metered.meter)
    first.close()
    assert _named(metered) == {"new": 2}
    second.close()
    second.close()

    assert _named(metered) == {}


@pytest.mark.parametrize("make", [queue.Queue, collections.deque, Line, ThreadPoolExecutor])
def test_what_is_observed_may_go(make: Callable[[], Any], metered: Metered) -> None:
    """Observing keeps no queue alive, and one that is gone has no value."""
    items = make()
    ref = weakref.ref(items)
    observing = observe_queue(items, "q", meter=metered.meter)
    assert _named(metered) == {"q": 0}
    del items

    assert ref() is None
    assert _named(metered) == {}
    observing.close()
    assert faults.seen() == {}


def test_a_queue_that_raises_has_no_value(
    metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported when it begins to fail; other queues, and itself later, are as ever."""
    bad, good = Line(), collections.deque([1])
    observe_queue(bad, "bad", meter=metered.meter)
    observe_queue(good, "good", meter=metered.meter)
    bad.error = NotImplementedError("no sem_getvalue here")
    for _ in range(3):
        assert _named(metered) == {"good": 1}
    bad.error = None
    assert _named(metered) == {"bad": 0, "good": 1}
    bad.error = OSError()
    assert _named(metered) == {"good": 1}

    assert {kind: fault.times for kind, fault in faults.seen().items()} == {"queue_depth": 2}
    assert len(caplog.records) == 2, "one for each class of error"


def test_a_locked_queue_keeps_nobody_waiting(metered: Metered) -> None:
    """A queue whose lock is held, as a fork may leave it, still says what waits."""
    items = queue.Queue[int]()
    items.put(1)
    observe_queue(items, "q", meter=metered.meter)
    items.mutex.acquire()

    assert _named(metered) == {"q": 1}


@pytest.mark.parametrize(
    ("target", "word"),
    [([], "weakly"), (object(), "qsize"), (ProcessPoolExecutor, "qsize")],
    ids=["list", "object", "class"],
)
def test_what_is_no_queue_is_refused(target: object, word: str, metered: Metered) -> None:
    """What has no depth, or cannot be held weakly, is an error that says what to give instead."""
    with pytest.raises(ConfigError, match=f"'mine' cannot be observed: .*{word}.*; give a queue"):
        observe_queue(target, "mine", meter=metered.meter)


def test_names_are_few(metered: Metered) -> None:
    """After a hundred names every further queue is `_OTHER`."""
    queues = [collections.deque([number]) for number in range(103)]
    for number, items in enumerate(queues):
        observe_queue(items, f"customer-{number}", meter=metered.meter)

    named = _named(metered)
    assert len(named) == 101
    assert named["_OTHER"] == 3


# -- thread pools ----------------------------------------------------------------------------------


class PlannedError(Exception):
    """Raised by a task on purpose."""


def _fail() -> None:
    raise PlannedError


def _point(metered: Metered, name: str) -> HistogramDataPoint:
    (point,) = metered.points(name).values()
    assert isinstance(point, HistogramDataPoint)
    return point


def test_a_pool_tells_what_waits_and_what_runs(metered: Metered) -> None:
    """Two threads that are busy leave three of five tasks waiting; in the end none waits."""
    go = threading.Event()
    started = threading.Semaphore(0)

    def work() -> None:
        started.release()
        go.wait(20)

    with ThreadPoolExecutor(2) as pool, observe_queue(pool, "mails", meter=metered.meter):
        assert _named(metered, THREADS) == {"mails": 0}
        futures = [pool.submit(work) for _ in range(5)]
        assert started.acquire(timeout=20)
        assert started.acquire(timeout=20)
        figures = [_named(metered, name) for name in (DEPTH, THREADS, LIMIT)]
        go.set()
        assert [future.result(20) for future in futures] == [None] * 5
        pool.shutdown()
        after = [_named(metered, name) for name in (DEPTH, THREADS)]

    assert figures == [{"mails": 3}, {"mails": 2}, {"mails": 2}]
    assert after == [{"mails": 0}, {"mails": 0}]


def test_each_task_waited_and_ran_once(metered: Metered) -> None:
    """Tasks by submit and by map are counted once each; those that raised by their class."""
    with ThreadPoolExecutor(3) as pool, observe_queue(pool, "p", meter=metered.meter):
        assert list(pool.map(abs, range(-20, 0))) == list(range(20, 0, -1))
        assert pool.submit(dict, a=1).result(20) == {"a": 1}
        for _ in range(4):
            assert isinstance(pool.submit(_fail).exception(20), PlannedError)
        assert isinstance(pool.submit(cast("Any", None)).exception(20), TypeError)

    assert metered.by(WAITED, NAME, "error.type") == {("p", None): 26}
    assert metered.by(RAN, NAME, "error.type") == {
        ("p", None): 21,
        ("p", "PlannedError"): 4,
        ("p", "TypeError"): 1,
    }
    assert tuple(_point(metered, WAITED).explicit_bounds) == SECONDS


def test_a_task_waits_until_a_thread_is_free(metered: Metered) -> None:
    """While one task runs the next one waits, at least as long as the one still ran."""
    go = threading.Event()

    with ThreadPoolExecutor(1) as pool, observe_queue(pool, "p", meter=metered.meter):
        pool.submit(go.wait, 20)
        pool.submit(int)
        began = time.monotonic()
        threading.Event().wait(0.02)
        held = time.monotonic() - began
        go.set()

    waited, ran = _point(metered, WAITED), _point(metered, RAN)
    assert waited.count == ran.count == 2
    assert waited.max >= held


def test_a_cancelled_task_neither_waited_nor_ran(metered: Metered) -> None:
    """A task that no thread took up is in no histogram."""
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool, observe_queue(pool, "p", meter=metered.meter):
        pool.submit(go.wait, 20)
        cancelled = pool.submit(int)
        assert cancelled.cancel()
        go.set()

    assert _named(metered, WAITED) == _named(metered, RAN) == {"p": 1}


class Pool(ThreadPoolExecutor):
    """A pool of somebody's own."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - as above it
        """Submit twice."""
        super().submit(fn, *args, **kwargs)
        return super().submit(fn, *args, **kwargs)


def test_a_pool_keeps_its_kind(metered: Metered) -> None:
    """An observed pool is still an instance of its class, and afterwards of that very class."""
    with Pool(1) as pool:
        observing = observe_queue(pool, "p", meter=metered.meter)
        assert isinstance(pool, Pool)
        assert repr(pool).startswith(f"<{__name__}.Pool object")
        pool.submit(int).result(20)
        assert "submit" not in vars(pool)
        submit = pool.submit
        observing.close()
        assert type(pool) is Pool
        submit(int)
        pool.submit(int).result(20)

    # What was taken out of the pool before is the old method still.
    assert _named(metered, RAN) == {"p": 4}


def test_a_pool_observed_twice_counts_once(metered: Metered) -> None:
    """The newest name is the one that counts, and closing leaves the pool as it was."""
    with ThreadPoolExecutor(1) as pool:
        first = observe_queue(pool, "old", meter=metered.meter)
        second = observe_queue(pool, "new", meter=metered.meter)
        pool.submit(int).result(20)
        first.close()
        pool.submit(int).result(20)
        second.close()
        pool.submit(int).result(20)
        assert type(pool) is ThreadPoolExecutor

    assert _named(metered, RAN) == {"new": 2}


def test_two_meters_may_observe_one_pool(metered: Metered) -> None:
    """Each has all tasks, in whatever order they are closed."""
    other = Metered()
    with ThreadPoolExecutor(1) as pool:
        first = observe_queue(pool, "p", meter=metered.meter)
        second = observe_queue(pool, "p", meter=other.meter)
        pool.submit(int).result(20)
        first.close()
        pool.submit(int).result(20)
        second.close()
        pool.submit(int).result(20)

    assert _named(metered, RAN) == {"p": 1}
    assert _named(other, RAN) == {"p": 2}


def test_a_pool_that_nobody_has_ends(metered: Metered) -> None:
    """An observed pool that is dropped lets its threads go, as any pool."""
    gc.disable()
    try:
        pool = ThreadPoolExecutor(1)
        observe_queue(pool, "p", meter=metered.meter)
        submit = pool.submit
        pool.submit(int).result(20)
        (thread,) = pool._threads
        del pool
        assert submit(abs, -1).result(20) == 1
        del submit
        assert until(lambda: not thread.is_alive(), 20)
    finally:
        gc.enable()


class Brittle(ThreadPoolExecutor):
    """A pool that other classes may not build on."""

    def __init_subclass__(cls) -> None:
        """Refuse."""
        raise TypeError


def test_a_pool_that_cannot_be_watched_has_its_depth(metered: Metered) -> None:
    """Where tasks cannot be measured that is a fault, and the pool works as ever."""
    with Brittle(1) as pool, observe_queue(pool, "p", meter=metered.meter):
        assert pool.submit(abs, -1).result(20) == 1
        assert _named(metered, LIMIT) == {"p": 1}

    assert list(faults.seen()) == ["executor_watch"]
    assert _named(metered, RAN) == {}


class BrokenMeter:
    """A meter whose histograms fail."""

    def create_observable_gauge(self, *args: object) -> None:
        """Create none."""

    def create_histogram(self, *args: object, **more: object) -> BrokenMeter:
        """Return one."""
        return self

    def record(self, *args: object) -> None:
        """Fail."""
        raise RuntimeError


def test_a_failure_inside_harms_no_task() -> None:
    """If recording fails, results and exceptions are as ever, and it is counted."""
    with (
        ThreadPoolExecutor(1) as pool,
        observe_queue(pool, "p", meter=BrokenMeter()),  # type: ignore[arg-type]
    ):
        assert pool.submit(abs, -1).result(20) == 1
        assert isinstance(pool.submit(_fail).exception(20), PlannedError)

    assert {kind: fault.times for kind, fault in faults.seen().items()} == {"executor_task": 4}


def test_a_forked_child_has_its_own_figures(metered: Metered) -> None:
    """In a child the parent's threads are none, and a queue is the child's copy."""
    items = collections.deque([1])
    with ThreadPoolExecutor(1) as pool, observe_queue(pool, "p", meter=metered.meter):
        observe_queue(items, "q", meter=metered.meter)
        pool.submit(int).result(20)
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # SIGALRM ends a child that waits for a lock
            items.append(2)
            right = _named(metered, THREADS) == {"p": 0} and _named(metered)["q"] == 2
            os._exit(0 if right else 1)
        assert os.waitpid(pid, 0) == (pid, 0)
        assert _named(metered, THREADS) == {"p": 1}
