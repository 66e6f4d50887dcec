"""Other processes on the machine, which do nothing but be there."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import psutil


if TYPE_CHECKING:
    from collections.abc import Iterator


# Longer than any comparison, and an end if nobody ends them.
_LIFE = "600"


@contextlib.contextmanager
def crowd(processes: int) -> Iterator[int]:
    """Have at least so many *processes* on the machine meanwhile; yield how many there are."""
    missing = max(0, processes - len(psutil.pids()))
    started = [subprocess.Popen(["sleep", _LIFE]) for _ in range(missing)]
    try:
        yield len(psutil.pids())
    finally:
        for each in started:
            each.kill()
        for each in started:
            each.wait()
