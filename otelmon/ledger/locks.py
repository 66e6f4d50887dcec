"""Locks that the kernel takes back when their holder dies, however it dies.

`flock` for whole duties, a POSIX byte-range lock for the slots: the latter is never inherited by a
fork, and the kernel tells who is alive without anybody trying the lock. It has one trap: closing
*any* descriptor of the file drops all of the process's locks on it, so the file of the range locks
is opened once per process and never by anything else. Whoever only wants to look at such a file asks
`has_open` first.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelmon.errors import LedgerError
from otelmon.ledger.files import close_own, is_open_on, open_private
from otelmon.ledger.forks import FORKS
from otelmon.threads import Alarm, original


if sys.platform != "win32":  # where nothing is shared, and this module only imported
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# struct flock of Linux: type, whence, start, length, pid.
_FLOCK: Final = struct.Struct("@hhqqi4x")
_POLL_SECONDS: Final = 0.002
_NOTE_BYTES: Final = 256
_CLOSED: Final = -1


_threads = original(_thread, "allocate_lock")()


def _forget() -> None:
    """Start anew in a forked child: a thread that is gone there may have held the lock."""
    global _threads  # noqa: PLW0603 - as above
    _threads = original(_thread, "allocate_lock")()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forget)


class RangeLocks:
    """One byte of a lock file per thing to be owned by one process."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open the lock file; without *create* one that is there, only to ask who owns what."""
        self._fd = open_private(path, os.O_RDWR | os.O_CREAT if create else os.O_RDONLY)
        self._file: Final = os.fstat(self._fd)

    @property
    def inode(self) -> int:
        """Return what tells the file from another one of the same name."""
        return self._file.st_ino

    @property
    def intact(self) -> bool:
        """Tell whether the file is open here, and nobody has closed its descriptor."""
        return is_open_on(self._fd, self._file)

    def take(self, byte: int) -> bool:
        """Own *byte* from now on, unless another process does, or the file was closed here."""
        if self._fd == _CLOSED:
            return False
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def share(self, byte: int) -> bool:
        """Own *byte* with others who share it, unless another process has it alone."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def give(self, byte: int) -> None:
        """Own *byte* no longer."""
        if self._fd != _CLOSED:  # else it went with the file
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, byte)

    def owned(self, byte: int, length: int = 1) -> bool:
        """Tell whether *another* process owns any of the bytes; one's own never count."""
        if self._fd == _CLOSED:
            return False
        question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, length, 0)
        answer = _FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_GETLK, question))
        return bool(answer[0] != fcntl.F_UNLCK)

    @contextlib.contextmanager
    def held(self, byte: int, *, seconds: float) -> Iterator[bool]:
        """Own *byte* for the length of a block; yield False if it could not be had in time."""
        taken = _wait(lambda: self.take(byte), seconds)
        try:
            yield taken
        finally:
            if taken:
                self.give(byte)

    def close(self) -> None:
        """Give everything back."""
        # The number first: once closed it may belong to a file of the application's.
        fd, self._fd = self._fd, _CLOSED
        close_own(fd, self._file)


def has_open(path: Path) -> bool:
    """Tell whether this process has a file open, in any of its interpreters.

    Raises:
        OSError: the kernel does not tell.
    """
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return False
    # What lists them is among them, and another thread may close one meanwhile.
    return any(is_open_on(int(fd.name), wanted) for fd in Path("/proc/self/fd").iterdir())


class Lease:
    """A duty that one process of the instance holds at a time: the lock on a file of its own.

    A forked child shares the descriptor and would keep the duty beyond its parent's death, so it
    must call `forget`.
    """

    def __init__(self, path: Path) -> None:
        """Name the file; it is made at the first try."""
        self._path = path
        self._fd: int | None = None
        self._file: os.stat_result

    @property
    def held(self) -> bool:
        """Tell whether this process has the duty."""
        return self._fd is not None

    def take(self) -> bool:
        """Try to get the duty without waiting; return whether it is held now."""
        if self._fd is not None and self._in_place(self._fd):
            return True
        self.give()
        moment = FORKS.moment()
        fd = open_private(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._file, self._fd = os.fstat(fd), fd
        if FORKS.since(moment):
            # A child that was forked before there was anything to forget shares the lock, and would
            # have it beyond this process's death.
            self.give()
        return self.held

    def note(self, text: str) -> None:
        """Leave a word for the other processes in the lease's file; the holder alone may."""
        assert self._fd is not None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text.encode(), 0)

    def noted(self) -> str:
        """Return the last word that a holder left, perhaps one that is gone."""
        with contextlib.suppress(OSError, LedgerError):
            fd = open_private(self._path, os.O_RDONLY)
            try:
                return os.read(fd, _NOTE_BYTES).decode(errors="replace")
            finally:
                os.close(fd)
        return ""

    def give(self) -> None:
        """Leave the duty to others."""
        if self._fd is not None:
            if is_open_on(self._fd, self._file):
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.forget()

    def forget(self) -> None:
        """Drop the inherited descriptor, leaving the lock to the parent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            close_own(fd, self._file)

    def _in_place(self, fd: int) -> bool:
        """Tell whether the file is there and open: else another may hold a lock of the same name."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(found, self._file) and is_open_on(fd, self._file)


@contextlib.contextmanager
def directory_lock(path: Path, *, seconds: float) -> Iterator[bool]:
    """Be the only one who opens, claims or removes in a directory; yield False if that failed.

    A range lock, because a child forked meanwhile must not inherit it. It keeps out no thread of
    this process, whose closing would even drop it: there is a lock for those beside it.
    """
    threads = _threads
    if not threads.acquire(True, seconds):
        yield False
        return
    try:
        locks = RangeLocks(path)
        try:
            with locks.held(0, seconds=seconds) as taken:
                yield taken
        finally:
            locks.close()
    finally:
        threads.release()


def _wait(take: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not take():
        if time.monotonic() > deadline:
            return False
        Alarm().wait(_POLL_SECONDS)
    return True
