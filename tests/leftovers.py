"""What a test left running: processes, also those that lost their parent, and threads."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import psutil

from tests.waiting import until


OWNER = "TESTS_OWNER"
"""Names the pytest process in the environment of all its descendants, so that orphans are known."""

Running = set[psutil.Process | threading.Thread]


def own() -> None:
    """Mark what this process will start; under xdist each worker marks its own."""
    os.environ[OWNER] = str(os.getpid())  # noqa: TID251 - children inherit it, and only so


def running() -> Running:
    """Return our descendants, orphans included, and our non-daemon threads.

    A child that was not waited for counts: it is a zombie until it is.
    """
    threads = {thread for thread in threading.enumerate() if not thread.daemon}
    processes: set[psutil.Process] = set()
    for pid in _descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.add(psutil.Process(pid))
    return threads | processes


def _descendants() -> set[int]:
    """Follow the parents from this process down, and from orphans that bear its mark.

    One small file is read per process on the machine, because this is done twice for every test.
    """
    own_pid = os.getpid()
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - hundreds of names, twice per test
        if entry.isdecimal():
            children.setdefault(_parent(entry), []).append(int(entry))
    found: set[int] = set()
    orphans = [pid for pid in children.get(1, ()) if _is_marked(pid, own_pid)]
    waiting = [*children.get(own_pid, ()), *orphans]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children.get(pid, ())
    return found


def _parent(pid: str) -> int:
    try:
        stat = Path("/proc", pid, "stat").read_bytes()
    except OSError:
        return 0
    return int(stat[stat.rindex(b")") + 2 :].split()[1])


def _is_marked(pid: int, own_pid: int) -> bool:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{OWNER}={own_pid}".encode() in environ.split(b"\0")


def end_new(before: Running, seconds: float = 20.0) -> list[str]:
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
