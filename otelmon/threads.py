"""Real threads, locks and waits, also where gevent has patched the thread modules.

A green thread stops whenever the application computes; what must go on beside the application
(the beat, the metrics port) therefore asks for the originals, at the moment of use, because the
patching may come after our import.
"""

from __future__ import annotations

import _thread
import sys
import threading
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable


def original(module: Any, name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    """Return *name* of *module* as it was before any monkey patching."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(module, name)
    return monkey.get_original(module.__name__, name)


def start(run: Callable[[], object]) -> None:
    """Run *run* in a thread of the operating system that never holds up the process's exit."""
    original(_thread, "start_new_thread")(_traced, (run,))


def _traced(run: Callable[[], object]) -> None:
    # threading.Thread does this for its threads; debuggers and coverage follow ours the same way.
    trace = threading.gettrace()
    if trace is not None:
        sys.settrace(trace)
    run()


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
            self._lock.acquire(True, max(seconds, 0.0))  # noqa: FBT003 - a C function's signature
        return self.rung

    def ring(self) -> None:
        """End this wait and every later one at once."""
        if not self.rung:
            self.rung = True
            self._lock.release()
