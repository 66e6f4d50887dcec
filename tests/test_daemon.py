"""What tests start is ended, also where it does not become what it should."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests import daemon, forks
from tests.daemon import Daemon
from tests.forks import Child


if TYPE_CHECKING:
    from pathlib import Path


class Sleeper(Daemon):
    """A program that never serves."""

    def __init__(self, directory: Path, *command: str) -> None:
        """Describe it."""
        super().__init__([*command], log_path=directory / "log")

    def is_ready(self) -> bool:
        """Say no."""
        return False


@pytest.mark.parametrize(
    ("command", "said"),
    [(("sleep", "600"), "not ready: "), (("sh", "-c", "echo no; exit 1"), "it ended: no")],
)
def test_a_program_that_does_not_come_up_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], said: str
) -> None:
    """And waited for; the test that wanted it fails with the program's own words."""
    if command[0] == "sleep":
        monkeypatch.setattr(daemon, "BOOT_SECONDS", 0.1)
    sleeper = Sleeper(tmp_path, *command)
    with pytest.raises(AssertionError, match=said), sleeper:
        pass
    assert sleeper.process.returncode is not None


def test_a_child_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its wait has a deadline, and the test fails."""
    child = Child(os.getpid)
    monkeypatch.setattr(forks, "_END_SECONDS", 0.1)
    with pytest.raises(AssertionError, match="did not end"):
        child.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, signal.SIGCONT)
