"""The memory of the rate limits: a file that the processes of an instance map, or one's own."""

from __future__ import annotations

import mmap
import os
import secrets
import stat
import sys
import time
import weakref
from typing import TYPE_CHECKING, Final

from otelmon.errors import LedgerError
from otelmon.ledger import layout
from otelmon.ledger.files import keep_mapped, mapped, open_private
from otelmon.ledger.locks import RangeLocks
from otelmon.ledger.quotas import FILE_BYTES, MAGIC, SECRET_AT, SECRET_BYTES, STRIPES, Quotas
from otelmon.ledger.stripes import Stripes


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otelmon.ledger.identity import Identity


# Behind the stripes: who has the file open shares this byte, which tells that it is in use.
_PRESENT: Final = STRIPES
_CLOSED: Final = -1


def private_quotas(*, clock: Callable[[], int] = time.monotonic_ns) -> Quotas:
    """Return records that are this process's alone."""
    # Not shared with forked children either, where that can be said.
    private = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    memory = mmap.mmap(-1, FILE_BYTES, **private)
    memory[SECRET_AT : SECRET_AT + SECRET_BYTES] = secrets.token_bytes(SECRET_BYTES)
    return Quotas(memory, Stripes(STRIPES, None), clock=clock)


class QuotaFile:
    """The instance's file, mapped, and the locks beside it."""

    def __init__(self, path: Path, identity: Identity) -> None:
        """Open it, or make it; the caller holds the lock of its directory.

        Raises:
            LedgerError: there is something else, or it is of another boot.
            OSError: it cannot be had: no space, no permission, a planted link.
        """
        self._path = path
        fd = open_private(path, os.O_RDWR | os.O_CREAT)
        try:
            _prepare(fd, path, identity)
            self._found = os.fstat(fd)
            memory = mapped(fd, FILE_BYTES)
        finally:
            os.close(fd)
        header = memoryview(memory)[: layout.PAGE].cast("Q")
        locks = _bound_locks(path, header)
        locks.share(_PRESENT)
        header[layout.HEADER_SERVER_PID] = identity.server.pid
        header[layout.HEADER_SERVER_START] = identity.server.start
        self.quotas = Quotas(memory, Stripes(STRIPES, locks))
        """The records"""
        # With the last thread that counts there, not before.
        self._end = weakref.finalize(self.quotas, _let_go, locks, memory)
        self._end.atexit = False
        self._locks = locks

    def replaced(self) -> bool:
        """Tell whether it must be opened anew: removed, another in its place, or its locks closed."""
        if not self._locks.intact:
            return True
        try:
            found = self._path.lstat()
        except OSError:
            return True
        return not (stat.S_ISREG(found.st_mode) and os.path.samestat(found, self._found))

    def close(self) -> None:
        """Let go of the locks at once, as a forked child must before it opens the file for itself."""
        self._end()


def _let_go(locks: RangeLocks, memory: mmap.mmap) -> None:
    if not locks.intact:
        keep_mapped(memory)
    locks.close()


def _prepare(fd: int, path: Path, identity: Identity) -> None:
    if os.fstat(fd).st_size == 0:
        # Now, all of it: a store to a page that a full tmpfs cannot give kills by SIGBUS.
        os.posix_fallocate(fd, 0, FILE_BYTES)
        os.pwrite(fd, secrets.token_bytes(SECRET_BYTES), SECRET_AT)
        # The header last: a file whose maker was killed half-way is refused, and made anew.
        header = layout.Header(time.time_ns(), identity.boot, identity.network)
        os.pwrite(fd, layout.encode_header(header, magic=MAGIC), 0)
    if (size := os.fstat(fd).st_size) != FILE_BYTES:
        raise LedgerError(f"The limits {path} have {size} bytes where {FILE_BYTES} belong.")
    found = layout.decode_header(os.pread(fd, layout.PAGE, 0), magic=MAGIC)
    if (found.boot, found.network) != (identity.boot, identity.network):
        raise LedgerError(f"The limits {path} are of another boot or network namespace.")


def _bound_locks(path: Path, header: memoryview[int]) -> RangeLocks:
    """Open the locks that the file's other users hold: with others, two would write at once."""
    locks = RangeLocks(path.with_suffix(".stripes"))
    bound = header[layout.HEADER_LOCKS] or locks.inode
    if bound != locks.inode:
        locks.close()
        raise LedgerError(f"The locks beside the limits {path} are not those of its users.")
    header[layout.HEADER_LOCKS] = bound
    return locks
