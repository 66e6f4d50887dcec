"""A lock is told to be held by who holds it, and by nobody else."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from tests.held_locks import locks_of, locks_on


if TYPE_CHECKING:
    from pathlib import Path


def test_bytes_that_are_numbered_like_a_process_are_none_of_its_locks(tmp_path: Path) -> None:
    """As the bytes that stand for ports: the kernel's list has a process and bytes in one line."""
    path = tmp_path / "ports"
    other = os.getppid()
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 1, other)
        assert [(lock.kind, lock.pid) for lock in locks_on(path)] == [("POSIX", os.getpid())]
        # Whatever it holds or gives back meanwhile, this file is none of it.
        assert path.stat().st_ino not in {lock.inode for lock in locks_of(other)}
        assert set(locks_on(path)) <= set(locks_of(os.getpid()))
    assert locks_on(path) == []
