"""The guard that finds what a test left running."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import psutil

from tests import leftovers
from tests.waiting import until


LASTING = "import time; time.sleep(60)"
ORPHANING = f"""
import subprocess, sys
quiet = subprocess.DEVNULL
print(subprocess.Popen([sys.executable, "-c", {LASTING!r}], stdout=quiet, stderr=quiet).pid)
"""


def test_a_child_that_still_runs_is_described_and_ended() -> None:
    """A child that runs on is named by its command line, killed and reaped."""
    before = leftovers.running()
    child = subprocess.Popen([sys.executable, "-c", LASTING])

    left = leftovers.end_new(before, seconds=0.1)

    assert [f"process {child.pid}: {sys.executable} -c {LASTING}"] == left
    assert not psutil.pid_exists(child.pid)
    child.wait()


def test_a_child_that_was_not_waited_for_is_found() -> None:
    """A child that ended, but was never waited for, is found and reaped."""
    before = leftovers.running()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert [f"process {pid}: never waited for"] == leftovers.end_new(before, seconds=0.1)
    assert not psutil.pid_exists(pid)


def test_an_orphan_is_found() -> None:
    """A process whose parent, a child of ours, has ended is still ours."""
    before = leftovers.running()
    answer = subprocess.run([sys.executable, "-c", ORPHANING], capture_output=True, check=True)
    pid = int(answer.stdout)

    left = leftovers.end_new(before, seconds=0.1)

    assert [said.split(":")[0] for said in left] == [f"process {pid}"]
    assert until(lambda: not psutil.pid_exists(pid))


def test_a_thread_is_found() -> None:
    """A thread that is not a daemon is found while it runs, and no longer."""
    before = leftovers.running()
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="lasting")
    thread.start()

    assert leftovers.end_new(before, seconds=0.1) == ["thread lasting"]
    go.set()
    thread.join()
    assert leftovers.end_new(before) == []


def test_a_daemon_thread_is_no_leftover() -> None:
    """A daemon thread is nobody's leftover."""
    before = leftovers.running()
    go = threading.Event()
    thread = threading.Thread(target=go.wait, daemon=True)
    thread.start()

    assert leftovers.end_new(before, seconds=0.1) == []
    go.set()
    thread.join()
