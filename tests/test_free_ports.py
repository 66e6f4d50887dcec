"""No two tests have the same port."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.free_ports import _ports, free_port
from tests.gunicorn_server import ROOT
from tests.ports import listening


if TYPE_CHECKING:
    import pytest


_TAKES = "from tests.free_ports import free_port; print(free_port(), flush=True); input()"


def test_a_port_that_another_process_has_been_given_is_not_given_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Although nobody listens there yet."""
    command = [sys.executable, "-c", _TAKES]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        monkeypatch.setattr(_ports, "_next", theirs)
        assert free_port() != theirs
        other.communicate("\n", timeout=60)


def test_a_port_that_is_in_use_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever uses it: another program knows nothing of ours."""
    taken = free_port()
    with listening(taken):
        monkeypatch.setattr(_ports, "_next", taken)
        assert free_port() != taken
