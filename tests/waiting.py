"""Waiting on a condition, never on the clock alone."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float = 30.0, every: float = 0.01) -> bool:
    """Ask *condition* again and again until it holds or *seconds* are over; return if it held."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(every)
    return True
