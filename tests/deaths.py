"""Many processes that claim a slot, count and die, one after the other: run as a program.

    python -m tests.deaths PLACE NAME TIMES

It is a program because a fork costs less the less there is to copy, and because nobody measures
what it covers. Every second process is killed with a request in flight, the others exit. It prints
how many were killed.
"""

from __future__ import annotations

import gc
import os
import posix  # as it was before anybody patched `os._exit`
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.recorder import Recorder, this_instance


if TYPE_CHECKING:
    from otelmon.ledger.identity import Identity


def die(place: Path, instance: Identity, number: int) -> NoReturn:
    """Claim a slot, count one request and one value, and die."""
    try:
        worker = Recorder(place, instance)
        worker.serve("/", 1)
        worker.gauge(1.0)
        if number % 2:
            worker.begin()
            os.kill(os.getpid(), signal.SIGKILL)
    finally:
        posix._exit(1)


def main(place: str, name: str, times: str) -> None:
    """Do it."""
    instance = this_instance(name)
    # Nothing is to be copied into the children because somebody looked for garbage.
    gc.freeze()
    killed = 0
    for number in range(int(times)):
        pid = os.fork()
        if pid == 0:
            die(Path(place), instance, number)
        killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
