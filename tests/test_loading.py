"""What otelmon's threads import late does no harm to the application's forks."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.gunicorn_server import ROOT


if TYPE_CHECKING:
    from pathlib import Path


# Imports a module behind the main thread's back, which forks amid the import; the child imports it, too.
FORKS: Final = """
import os, signal, sys, threading
from otelmon import threads
from otelmon.loading import apart_from_forks

begun, go_on = threading.Event(), threading.Event()
sys.gates = begun, go_on


def load():
    with apart_from_forks():
        import slow


threads.start(load)
begun.wait(60)
if sys.argv[1] == "ends":
    # Hooks run backwards: this one before the one that waits for the import.
    os.register_at_fork(before=go_on.set)
pid = os.fork()
if pid == 0:
    signal.alarm(20)  # ends a child that waits for a lock
    with apart_from_forks():
        if sys.argv[1] == "ends":
            import slow
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.fork() or os._exit(0)  # the lock is free again, or waited for once more, and that ends
go_on.set()
os.wait()
"""
SLOW: Final = "import sys; begun, go_on = sys.gates; begun.set(); go_on.wait(60)"


@pytest.mark.parametrize("import_", ["ends", "hangs"])
def test_a_fork_amid_an_import_leaves_a_child_that_can_import(tmp_path: Path, import_: str) -> None:
    """The fork waits until the import is over; where that has no end the fork is made all the same."""
    (tmp_path / "slow.py").write_text(SLOW)
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    env = {**os.environ, "PYTHONPATH": path}  # noqa: TID251 - a child needs its PATH
    command = [sys.executable, "-c", FORKS, import_]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=True)
    assert done.stdout == "0\n"
