"""What a test left running: processes, also those that lost their parent, and threads."""

from __future__ import annotations

import contextlib
import os
import threading

import psutil

from tests.waiting import until


OWNER = "TESTS_OWNER"
"""Names the pytest process in the environment of all its descendants, so that orphans are known."""

Running = set[psutil.Process | threading.Thread]


def own() -> None:
    """Mark what this process will start; under xdist each worker marks its own."""
    os.environ[OWNER] = str(os.getpid())  # noqa: TID251 - children inherit it, and only so


def running() -> Running:
    """Return our children, the descendants of programs we started, and our non-daemon threads.

    A child that was not waited for counts: it is a zombie until it is.
    """
    threads = {thread for thread in threading.enumerate() if not thread.daemon}
    return threads | {process for process in psutil.process_iter() if _is_ours(process)}


def _is_ours(process: psutil.Process) -> bool:
    own_pid = os.getpid()
    try:
        if process.pid == own_pid:
            return False
        return process.ppid() == own_pid or process.environ().get(OWNER) == str(own_pid)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def end_new(before: Running, seconds: float = 3.0) -> list[str]:
    """Let what is not in *before* end by itself for *seconds*; then kill and describe the rest."""
    until(lambda: not running() - before, seconds)
    return [_ended(found) for found in running() - before]


def _ended(found: psutil.Process | threading.Thread) -> str:
    if isinstance(found, threading.Thread):
        return f"thread {found.name}"
    said = "ended late"
    with contextlib.suppress(psutil.NoSuchProcess):
        zombie = found.status() == psutil.STATUS_ZOMBIE
        said = "never waited for" if zombie else " ".join(found.cmdline())[:200]
        found.kill()
        found.wait(timeout=5)
    return f"process {found.pid}: {said}"
