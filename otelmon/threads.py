"""Real threads, locks and waits, also where gevent has patched the thread modules.

A green thread stops whenever the application computes; what must go on beside the application
(the beat, the metrics port) therefore asks for the originals, at the moment of use, because the
patching may come after our import.
"""

from __future__ import annotations

import _thread
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from otelmon.errors import OtelmonError


if TYPE_CHECKING:
    from collections.abc import Callable


T = TypeVar("T")

# Locks take no endless wait beside one with a deadline.
_LONG_SECONDS: Final = 3600.0


def original(module: Any, name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    """Return *name* of *module* as it was before any monkey patching."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(module, name)
    return monkey.get_original(module.__name__, name)


def is_green() -> bool:
    """Tell whether gevent has patched sockets: one that is made in a thread is of use there only."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def start(run: Callable[[], object]) -> None:
    """Run *run* in a thread of the operating system that never holds up the process's exit."""
    original(_thread, "start_new_thread")(_traced, (run,))


def _traced(run: Callable[[], object]) -> None:
    # threading.Thread does this for its threads; debuggers and coverage follow ours the same way.
    trace = threading.gettrace()
    if trace is not None:
        sys.settrace(trace)
    try:
        run()
    finally:
        _leave_gevent()


def _leave_gevent() -> None:
    """Give back the event loop that gevent makes in any thread that waits for something of its."""
    local = sys.modules.get("gevent._hub_local")
    hub = None if local is None else local.get_hub_if_exists()
    if hub is not None:
        hub.destroy(destroy_loop=True)


class Alarm:
    """A wait with a deadline that another thread can end: one waiter, no patched primitive."""

    def __init__(self) -> None:
        """Begin silent."""
        self._lock = original(_thread, "allocate_lock")()
        self._lock.acquire()
        self.rung = False

    def wait(self, seconds: float) -> bool:
        """Wait *seconds* at the most; return whether the alarm has rung."""
        if not self.rung:
            self._lock.acquire(True, max(seconds, 0.0))
        return self.rung

    def ring(self) -> None:
        """End this wait and every later one at once."""
        if not self.rung:
            self.rung = True
            self._lock.release()


class Errand(Generic[T]):
    """A call that may hang: waited for until a deadline, then left behind, never started twice."""

    def __init__(self, call: Callable[[], T]) -> None:
        """Name the call; each run makes it in a thread of its own."""
        self._call = call
        self._done: Alarm | None = None
        self._outcome: list[T | BaseException] = []

    @property
    def idle(self) -> bool:
        """Tell whether no earlier call is under way."""
        return self._done is None or self._done.rung

    @property
    def late(self) -> bool:
        """Tell whether a call was left behind, also if it has come back since, and none made after it."""
        return self._done is not None

    def start(self) -> bool:
        """Make the call beside the caller; return False if an earlier one has not come back yet.

        What it returns or raises is nobody's.
        """
        if not self.idle:
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        done, self._outcome = Alarm(), []
        start(partial(self._run, done, self._outcome))
        # Only now is there something to wait for: the system may have no thread left.
        self._done = done

    def run(self, seconds: float, *, old: bool = False) -> T:
        """Return what the call returns, or raise what it raises.

        A call that was left behind has found what was so then: once it has come back it is made
        anew, unless the caller takes *old* outcomes too.

        Raises:
            TimeoutError: it has not come back yet; a call that was left behind is not waited for
                again, and where there is no time none is made.
            RuntimeError: no thread can be had.
            OtelmonError: it ended with what is no Exception, as `SystemExit` and a cancellation are:
                that would end the thread of the caller, which has other things to do.
        """
        if self.idle and not old:
            self._done = None
        if self._done is not None:
            seconds = 0.0
        elif seconds <= 0:
            raise TimeoutError(f"There was no time left for {self._call!r}.")
        else:
            self._begin()
        assert self._done is not None
        if not self._done.wait(seconds):
            raise TimeoutError(f"{self._call!r} has not come back after {seconds:.0f} s.")
        self._done = None
        outcome = self._outcome[0]
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, BaseException):
            name = type(outcome).__name__
            raise OtelmonError(f"A call ended with {name}: raise an Exception there.") from outcome
        return outcome

    def _run(self, done: Alarm, outcome: list[T | BaseException]) -> None:
        try:
            outcome.append(self._call())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            outcome.append(error)
        done.ring()


class LastCall:
    """A call at the end of a process, which can have no new thread by then: this one is made in time."""

    def __init__(self, call: Callable[[], object]) -> None:
        """Name the call, and have a thread wait to be asked for it."""
        self._call: Callable[[], object] | None = call
        self._asked, self._done = Alarm(), Alarm()
        start(self._run)

    def run(self, seconds: float) -> bool:
        """Make it; return whether it came back within *seconds*. If not it is left behind."""
        self._asked.ring()
        return self._done.wait(seconds)

    def dismiss(self) -> None:
        """Let the thread go; the call is not made."""
        self._call = None
        self._asked.ring()

    def _run(self) -> None:
        while not self._asked.wait(_LONG_SECONDS):
            pass
        call, self._call = self._call, None
        if call is not None:
            call()
        self._done.ring()
