"""Queues of this process: how much waits in them.

`observe_queue` takes thread pools as well, which have a queue inside; what only they have stands in
`executors`.
"""

from __future__ import annotations

import queue
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon import faults
from otelmon.errors import ConfigError
from otelmon.instruments.executors import Tasks, backlog, threads, threads_limit
from otelmon.instruments.observing import Few, Observing, turns
from otelmon.settings.text import shown


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    Ask = Callable[[Any], int]


NAME: Final = "otelmon.queue.name"
# The program chooses them; somebody may still name a queue after each of many customers.
_MAX_NAMES: Final = 100


class Gauge(NamedTuple):
    """One observable gauge."""

    name: str
    unit: str
    description: str


DEPTH: Final = Gauge("otelmon.queue.depth", "{item}", "What waits in the queue.")
THREADS: Final = Gauge("otelmon.executor.thread.count", "{thread}", "Threads of the pool.")
LIMIT: Final = Gauge(
    "otelmon.executor.thread.limit", "{thread}", "Threads that the pool may have (max_workers)."
)


class Observed:
    """One queue, held weakly, and what is asked of it."""

    def __init__(self, ref: weakref.ref[Any], name: str, asks: dict[Gauge, Ask]) -> None:
        """Ask nothing yet."""
        self.ref = ref
        self.name = name
        self.end_tasks: Callable[[], None] | None = None
        self._asks = asks
        self._failing: set[Gauge] = set()

    def read(self, gauge: Gauge) -> int | None:
        """Return the value; None where the queue is gone, has none or raises."""
        target, ask = self.ref(), self._asks.get(gauge)
        if target is None or ask is None:
            return None
        try:
            value = ask(target)
        except Exception as error:  # noqa: BLE001 - queues are the application's, and fail as they like
            if gauge not in self._failing:
                self._failing.add(gauge)
                faults.report("queue_depth", error)
            return None
        self._failing.discard(gauge)
        return value


class Queues:
    """The queues that are observed on one meter, and its instruments."""

    def __init__(self, meter: Meter) -> None:
        """Create the gauges on *meter*."""
        # Only whoever observes pays for the API.
        from opentelemetry.metrics import Observation

        self.tasks = Tasks(meter)
        self._observation = Observation
        self._shown = Few(_MAX_NAMES)
        self._observed: dict[int, Observed] = {}
        for gauge in (DEPTH, THREADS, LIMIT):
            observe = partial(self._observe, gauge)
            meter.create_observable_gauge(gauge.name, [observe], gauge.unit, gauge.description)

    def observe(self, target: Any, name: str) -> Observing:  # noqa: ANN401 - whatever has a depth
        """Observe a queue; one that is observed already changes its name."""
        asks = _asks(target, name)
        key = id(target)
        with turns.lock:
            self._end(key, self._observed.get(key))
            one = Observed(weakref.ref(target, partial(self._gone, key)), self._shown(name), asks)
            if isinstance(target, ThreadPoolExecutor):
                one.end_tasks = self.tasks.watch(target, {NAME: one.name})
            self._observed[key] = one
        return Observing(partial(self._end, key, one))

    def _end(self, key: int, one: Observed | None) -> None:
        if one is None or self._observed.get(key) is not one:
            return
        del self._observed[key]
        if one.end_tasks is not None:
            one.end_tasks()

    def _gone(self, key: int, ref: weakref.ref[Any]) -> None:
        one = self._observed.get(key)
        # Its place may be another object's by now.
        if one is not None and one.ref is ref:
            self._observed.pop(key, None)

    def _observe(self, gauge: Gauge, _: CallbackOptions) -> Iterable[Observation]:
        # Queues of one name are one.
        sums: dict[str, int] = {}
        for one in tuple(self._observed.values()):
            value = one.read(gauge)
            if value is not None:
                sums[one.name] = sums.get(one.name, 0) + value
        return [self._observation(value, {NAME: name}) for name, value in sums.items()]


def _asks(target: Any, name: str) -> dict[Gauge, Ask]:  # noqa: ANN401 - as above
    """Return how its figures are had; ConfigError if there are none, or it cannot be held weakly."""
    if isinstance(target, ThreadPoolExecutor):
        return {DEPTH: backlog, THREADS: threads, LIMIT: threads_limit}
    kind = type(target)
    problem = ""
    if not (hasattr(kind, "qsize") or hasattr(kind, "__len__")):
        problem = "it has neither qsize() nor a length; give a queue, a deque or a thread pool"
    elif not getattr(kind, "__weakrefoffset__", 0):
        problem = "nothing can refer to it weakly; give a queue or a collections.deque"
    if problem:
        raise ConfigError(f"The {kind.__qualname__} {name!r} cannot be observed: {problem}.")
    if not hasattr(kind, "qsize"):
        return {DEPTH: len}
    plain = isinstance(target, queue.Queue) and kind.qsize is queue.Queue.qsize
    return {DEPTH: _unlocked if plain else _qsize}


def _qsize(target: Any) -> int:  # noqa: ANN401 - as above
    return int(target.qsize())


def _unlocked(target: queue.Queue[object]) -> int:
    # qsize() waits for the queue's lock, which a fork may have left locked for ever.
    return target._qsize()  # noqa: SLF001 - the hook for other kinds of queues


_by_meter: weakref.WeakKeyDictionary[Meter, Queues] = weakref.WeakKeyDictionary()


def observe_queue(queue: object, name: str, *, meter: Meter) -> Observing:
    """Measure what waits in *queue* on *meter* as *name* until the result is closed.

    A queue is whatever has `qsize()` or a length. Of a `ThreadPoolExecutor` the threads are
    measured too, and each task: how long it waited and how long it ran. The queue is held weakly.
    ConfigError if it is none, or *name* no text.
    """
    if not isinstance(name, str):
        raise ConfigError(f"name is {shown(name)}: give a text that tells this queue from others.")
    with turns.lock:
        queues = _by_meter.get(meter)
        if queues is None:
            queues = _by_meter[meter] = Queues(meter)
    return queues.observe(queue, name)
