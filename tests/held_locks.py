"""The locks on files that processes of this machine hold, as the kernel lists them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterator


class HeldLock(NamedTuple):
    """One of them."""

    kind: str
    """`FLOCK` for a whole file and who has it open, `POSIX` for bytes of it and a process"""
    pid: int
    inode: int


def held_locks() -> Iterator[HeldLock]:
    """Go through all of them; only the named fields tell a process from an inode or a byte."""
    for line in Path("/proc/locks").read_text().splitlines():
        _, kind, *fields = line.split()
        # Whoever waits for a lock has an arrow there, and holds nothing yet.
        if kind != "->":
            _, _, pid, file, _, _ = fields
            yield HeldLock(kind, int(pid), int(file.rpartition(":")[2]))


def locks_of(pid: int) -> list[HeldLock]:
    """Return those that a process holds."""
    return [lock for lock in held_locks() if lock.pid == pid]


def locks_on(path: Path) -> list[HeldLock]:
    """Return those that anybody holds on a file, or on bytes of it."""
    inode = path.stat().st_ino
    return [lock for lock in held_locks() if lock.inode == inode]
