"""The arbiter's end of the sidecar, where the kernel does not do what it is asked."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from otelmon import faults, supervisor
from otelmon.ledger.identity import Process, start_time
from otelmon.supervisor import Supervisor


if TYPE_CHECKING:
    import pytest


def test_a_sidecar_that_outlives_its_kill_does_not_hold_up_the_arbiter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is left behind after a deadline, which is a fault; the next one can be started."""
    sent: list[signal.Signals] = []
    with subprocess.Popen(["sleep", "30"]) as child:
        supervised = Supervisor()
        supervised._process = Process(child.pid, start_time(child.pid) or 0)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(supervisor, "_END_SECONDS", 0.05)
                # As if it waited for a disk that hangs: no signal comes through.
                patched.setattr(os, "kill", lambda _, number: sent.append(number))
                supervised.end()
            assert child.poll() is None
        finally:
            child.kill()
    assert sent == [signal.SIGTERM, signal.SIGKILL]
    assert faults.seen()["sidecar"].error == "SidecarError"
