"""An instance's file read as it lies there, by a process that is no part of the instance.

For a command that looks while nothing else answers: it makes, locks, follows and removes nothing.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Self

from otelmon.errors import LedgerError
from otelmon.ledger import layout, reader
from otelmon.ledger.identity import Process, boot_id, network_namespace
from otelmon.ledger.keys import Keys
from otelmon.ledger.locks import RangeLocks, has_open
from otelmon.ledger.segment import SharedSegment


if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from otelmon.ledger.reader import Reading


class _ReadOnlySegment(SharedSegment):
    """A ledger file that is mapped for reading: a store to it would raise, and there is none."""

    access = mmap.ACCESS_READ

    def __init__(self, path: Path) -> None:
        """Open the ledger file at *path*, and that of its locks to ask who lives.

        Raises:
            LedgerError: it is no ledger that can be read here.
            OSError: it cannot be opened.
        """
        self.path = path
        self._blocks = {}
        self._slots = {}
        self._open(os.O_RDONLY)
        try:
            self._judge()
            self._use(self._mapped(layout.SLOTS_AT, at=0))
            self._locks = self._bound_locks()
        except BaseException:
            os.close(self._fd)
            raise

    def _judge(self) -> None:
        found = layout.decode_header(os.pread(self._fd, layout.PAGE, 0))
        if (size := os.fstat(self._fd).st_size) != layout.FILE_BYTES:
            raise LedgerError(
                f"The ledger {self.path} has {size} bytes where {layout.FILE_BYTES} belong."
            )
        if found.boot != boot_id():
            raise LedgerError(f"The ledger {self.path} was left behind by an earlier boot.")
        self.created = found.created
        self.is_elsewhere = found.network != network_namespace()

    def _bound_locks(self) -> RangeLocks:
        path = self.path.with_suffix(".slots")
        if has_open(path):
            # To close another descriptor of the file would drop all that this process owns by it.
            raise LedgerError(f"This process has {path} open itself; another one has to look.")
        locks = RangeLocks(path, create=False)
        if self.header[layout.HEADER_LOCKS] not in (0, locks.inode):
            locks.close()
            raise LedgerError(f"The locks beside the ledger {self.path} are not its owners'.")
        return locks


class Inspection:
    """One instance's file; a context manager, and one at a time for each file."""

    def __init__(self, path: Path) -> None:
        """Open the file and change nothing.

        Raises:
            LedgerError: it is no ledger of this version and boot, or this process is part of it.
            OSError: it cannot be opened.
        """
        self.segment = _ReadOnlySegment(path)
        self._keys = Keys(self.segment)

    def __enter__(self) -> Self:
        """Read on."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.segment.close()

    @property
    def path(self) -> Path:
        """Return where the file lies."""
        return self.segment.path

    @property
    def server(self) -> Process | None:
        """Return the process whose end is the end of the instance; None where it is not known."""
        header = self.segment.header
        pid, start = header[layout.HEADER_SERVER_PID], header[layout.HEADER_SERVER_START]
        return Process(pid, start) if pid and start else None

    @property
    def server_alive(self) -> bool | None:
        """Tell whether that process runs; None where its id means nothing here, as in a container."""
        server = self.server
        return None if server is None or self.segment.is_elsewhere else server.alive

    def read(self) -> Reading:
        """Merge all processes' slots."""
        return reader.read(self.segment, self._keys, own=None)
