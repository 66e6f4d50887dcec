"""The ledger seen by a process that counts nothing: it reads, and no slot is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otelmon.ledger import layout, reader
from otelmon.ledger.keys import Keys
from otelmon.ledger.ledger import Home
from otelmon.ledger.opening import opened


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.ledger.identity import Identity
    from otelmon.ledger.reader import Reading
    from otelmon.ledger.segment import SharedSegment


class _View(NamedTuple):
    """One file, and what is known of its keys."""

    segment: SharedSegment
    keys: Keys


class Onlooker:
    """Reads the instance's file, and never appears in it: neither as a worker nor as a death."""

    def __init__(self, place: Path, identity: Identity) -> None:
        """Open nothing yet."""
        self._home = Home(place, identity)
        self._view: _View | None = None
        self._left: SharedSegment | None = None

    @property
    def stem(self) -> Path:
        """Return what the names of the instance's files begin with."""
        return self._home.place / f"{self._home.identity.name}.ledger"

    @property
    def segment(self) -> SharedSegment | None:
        """Return the memory in use, if any."""
        return None if self._view is None else self._view.segment

    def follow(self) -> None:
        """Open the file, which is made if it is not there, and follow it if it was replaced.

        One that was only removed is read on until a worker has made the next one.

        Raises:
            LedgerError, OSError: it cannot be had; what was read before can be read on.
        """
        if self._left is not None:
            # Not at once: another thread may have been reading it.
            self._left.close()
            self._left = None
        view = self._view
        if view is not None and not (view.segment.replaced() and view.segment.path.exists()):
            return
        with opened(*self._home) as segment:
            # So that nobody takes the file for one that was left behind, before any worker came.
            server = self._home.identity.server
            segment.header[layout.HEADER_SERVER_PID] = server.pid
            segment.header[layout.HEADER_SERVER_START] = server.start
        keys = Keys(segment)
        self._left, self._view = self.segment, _View(segment, keys)

    def read(self) -> Reading | None:
        """Merge all processes' slots; None before the file was opened."""
        view = self._view
        return None if view is None else reader.read(view.segment, view.keys, own=None)
