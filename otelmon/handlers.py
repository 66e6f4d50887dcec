"""The application's signal handlers: what they raise is the application's, wherever it strikes.

A time limit by SIGALRM, as of a worker or a job, interrupts whatever runs, our code too. There it
must not be taken for a failure of ours, which is reported and goes no further.
"""

from __future__ import annotations

import functools
import signal
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from types import CodeType


def let_pass(error: BaseException) -> None:
    """Raise *error*, which was caught, if it is a signal handler's; else do nothing."""
    if is_from_handler(error):
        raise error


def is_from_handler(error: BaseException) -> bool:
    """Tell whether a signal handler of Python's raised *error*, by the frames that it left.

    It looks at the handlers that are set by now: one that was taken away before it raised is not
    known. To be asked on the way of an error only, as it takes some ten microseconds.
    """
    frames = set()
    trace = error.__traceback__
    while trace is not None:
        frames.add(trace.tb_frame.f_code)
        trace = trace.tb_next
    return not frames.isdisjoint(_codes())


def _codes() -> set[CodeType]:
    """Return what the handlers of all signals run."""
    found = {_code(signal.getsignal(number)) for number in signal.valid_signals()}
    found.discard(None)
    return {code for code in found if code is not None}


def _code(handler: object) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    function = getattr(handler, "__func__", handler)
    if not hasattr(function, "__code__"):
        # An object that can be called.
        function = getattr(type(handler), "__call__", None)  # noqa: B004 - the class's
    return getattr(function, "__code__", None)
