"""Thread pools: their threads, and how long each task waited and ran."""

from __future__ import annotations

import functools
import weakref
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.instruments.observing import Few
from otelmon.ledger.requests import SECONDS


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from opentelemetry.metrics import Meter


_MAX_ERROR_TYPES: Final = 50


# The pool tells none of these in public. Where a version names them otherwise, that is a fault of
# ours, and there is no figure.


def backlog(pool: ThreadPoolExecutor) -> int:
    """Return how many tasks wait for a thread."""
    # What was shut down holds one more: the word for its threads that they may go.
    return max(pool._work_queue.qsize() - pool._shutdown, 0)  # noqa: SLF001 - as said above


def threads(pool: ThreadPoolExecutor) -> int:
    """Return how many threads it has; those of a parent do not live on in a forked child."""
    return sum(thread.is_alive() for thread in tuple(pool._threads))  # noqa: SLF001 - as said above


def threads_limit(pool: ThreadPoolExecutor) -> int:
    """Return how many threads it may have."""
    return pool._max_workers  # noqa: SLF001 - as said above


class Tasks:
    """The histograms of all pools' tasks."""

    def __init__(self, meter: Meter) -> None:
        """Create them on *meter*."""
        self._waited = meter.create_histogram(
            "otelmon.executor.wait.duration",
            unit="s",
            description="Time that a task waited for a thread of its pool.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._ran = meter.create_histogram(
            "otelmon.executor.task.duration",
            unit="s",
            description="Time that a task ran in a thread of its pool.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._errors = Few(_MAX_ERROR_TYPES)

    def begun(self, waited: int, attributes: Mapping[str, str]) -> None:
        """Book the begin of a task that had waited so many ns."""
        try:
            self._waited.record(waited / 1e9, attributes)
        except Exception as fault:  # noqa: BLE001 - the task runs; only the figure is lost
            faults.report("executor_task", fault)

    def ended(self, ran: int, attributes: Mapping[str, str], error: BaseException | None) -> None:
        """Book the end of a task that had run so many ns."""
        try:
            if error is not None:
                attributes = {**attributes, "error.type": self._errors(type(error).__qualname__)}
            self._ran.record(ran / 1e9, attributes)
        except Exception as fault:  # noqa: BLE001 - the task is done; only the figure is lost
            faults.report("executor_task", fault)

    def watch(self, pool: ThreadPoolExecutor, attributes: Mapping[str, str]) -> Callable[[], None]:
        """Measure what is submitted to *pool* until the result is called.

        The pool gets a class of its own, below the one it had: a method that was set on the object
        would refer to it, and a pool that refers to itself does not end when nobody has it.
        """
        kept = type(pool)
        try:
            pool.__class__ = watched = _watched(kept, self, attributes)
        except TypeError as fault:  # a class that allows no other below it
            faults.report("executor_watch", fault)
            return _nothing
        return functools.partial(_release, weakref.ref(pool), kept, watched)


class _Task:
    """What a thread of the pool calls in place of the function that was submitted."""

    __slots__ = ("_attributes", "_function", "_submitted", "_tasks")

    def __init__(
        self, tasks: Tasks, attributes: Mapping[str, str], function: Callable[..., Any]
    ) -> None:
        self._tasks = tasks
        self._attributes = attributes
        self._function = function
        self._submitted = monotonic_ns()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - handed on
        tasks, attributes = self._tasks, self._attributes
        began = monotonic_ns()
        tasks.begun(began - self._submitted, attributes)
        try:
            result = self._function(*args, **kwargs)
        except BaseException as error:
            tasks.ended(monotonic_ns() - began, attributes, error)
            raise
        tasks.ended(monotonic_ns() - began, attributes, None)
        return result


def _watched(kept: Any, tasks: Tasks, attributes: Mapping[str, str]) -> Any:  # noqa: ANN401 - mypy takes a class that is made for no type
    """Return a class like *kept*, whose `submit` measures."""

    @functools.wraps(kept.submit)
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - handed on
        return kept.submit(self, _Task(tasks, attributes, fn), *args, **kwargs)

    own: dict[str, object] = {
        "submit": submit,
        "__module__": kept.__module__,
        "__qualname__": kept.__qualname__,
    }
    own["__doc__"] = kept.__doc__
    return type(kept)(kept.__name__, (kept,), own)


def _release(
    ref: weakref.ref[ThreadPoolExecutor],
    kept: type[ThreadPoolExecutor],
    watched: type[ThreadPoolExecutor],
) -> None:
    """End what `watch` began; where another class has come below ours, ours stays, and is empty."""
    if "submit" in vars(watched):
        del watched.submit
    pool = ref()
    if pool is not None and type(pool) is watched:
        pool.__class__ = kept


def _nothing() -> None:
    """End what never began."""
