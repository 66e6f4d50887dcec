"""Opening an instance's files and claiming a slot of it; removing what is left of dead instances.

All of it happens under the lock of the directory, so that nobody claims in a file that another is
about to remove.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.errors import LedgerError
from otelmon.ledger import layout, quotas
from otelmon.ledger.files import open_private, prepare
from otelmon.ledger.identity import Process
from otelmon.ledger.locks import RangeLocks, directory_lock, has_open
from otelmon.ledger.quota_file import QuotaFile
from otelmon.ledger.segment import LOCKS, SharedSegment


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from otelmon.ledger.identity import Identity


log = logging.getLogger("otelmon")

# The first request of a process may wait for this; who fails counts alone, and joins later.
_OPEN_SECONDS: Final = 2.0
# What cannot be judged (another layout, another network namespace) is left alone this long.
_STRANGER_SECONDS: Final = 86_400.0
_MEMORY: Final = (".ledger", ".slots")


class _Kind(NamedTuple):
    """A kind of file that instances leave behind."""

    pattern: str
    magic: bytes
    locks: str  # suffix of the file in which its users hold locks
    bytes: int  # of that file, from the first one on
    suffixes: tuple[str, ...]  # of all files that go with it


_LEDGER: Final = _Kind("*.ledger", layout.MAGIC, ".slots", LOCKS, (*_MEMORY, ".duty", ".port"))
_QUOTAS: Final = _Kind(
    "*.limits", quotas.MAGIC, ".stripes", quotas.STRIPES + 1, (".limits", ".stripes")
)


@contextlib.contextmanager
def opened(place: Path, identity: Identity) -> Iterator[SharedSegment]:
    """Yield the instance's file, with the directory's lock held for the length of the block.

    Raises:
        LedgerError: the lock could not be had.
        OSError: no space, no permission, a planted link.
    """
    with _alone(place):
        _tidy(place, identity)
        yield _open(place / f"{identity.name}.ledger", identity)


def opened_quotas(place: Path, identity: Identity) -> QuotaFile:
    """Open the file of the instance's rate limits, which is made if it is not there.

    Raises:
        LedgerError: the lock of the directory could not be had.
        OSError: no space, no permission, a planted link.
    """
    with _alone(place):
        _tidy(place, identity)
        path = place / f"{identity.name}.limits"
        if not path.exists():
            # Locks that are held there are of a file that was removed.
            path.with_suffix(".stripes").unlink(missing_ok=True)
        try:
            return QuotaFile(path, identity)
        except LedgerError as error:
            log.warning("%s A new one takes its place.", error)
            remove(path, _QUOTAS.suffixes)
            return QuotaFile(path, identity)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    prepare(place)
    with directory_lock(place / "lock", seconds=_OPEN_SECONDS) as locked:
        if not locked:
            raise LedgerError(f"Another process held {place / 'lock'} for {_OPEN_SECONDS:.0f} s.")
        yield


def _tidy(place: Path, identity: Identity) -> None:
    """Remove what instances have left behind that have ended."""
    for other in place.glob(_LEDGER.pattern):
        if _left_behind(other, _LEDGER, identity):
            remove(other)
    for other in place.glob(_QUOTAS.pattern):
        # Never one's own: what clients have used up outlives a restart of the server.
        if other.stem != identity.name and _left_behind(other, _QUOTAS, identity):
            remove(other, _QUOTAS.suffixes)


def _open(path: Path, identity: Identity) -> SharedSegment:
    header = layout.Header(time.time_ns(), identity.boot, identity.network)
    if not path.exists():
        # Locks that are still held there are of the slots of a file that was removed.
        path.with_suffix(".slots").unlink(missing_ok=True)
    try:
        return SharedSegment(path, header=header)
    except LedgerError as error:
        # Nothing is ever mended in place: whoever still maps the old file keeps it.
        log.warning("%s A new one takes its place.", error)
        # Nor are the duties' locks removed: their holders would go on beside the next ones.
        remove(path, _MEMORY)
        return SharedSegment(path, header=header)


def sign(header: memoryview[int], server: Process) -> None:
    """Name the process whose end is the end of the instance."""
    header[layout.HEADER_SERVER_PID] = server.pid
    header[layout.HEADER_SERVER_START] = server.start


def vouch(header: memoryview[int], server: Process) -> None:
    """Name *server* if the one that is named has ended: after an upgrade that may be the old one."""
    named = Process(header[layout.HEADER_SERVER_PID], header[layout.HEADER_SERVER_START])
    if named != server and not named.alive:
        sign(header, server)


def mark_private(place: Path, identity: Identity) -> None:
    """Tell the instance's readers that a process of it counts for itself, if it has a file."""
    with contextlib.suppress(OSError, LedgerError):
        fd = open_private(place / f"{identity.name}.ledger", os.O_RDWR)
        try:
            layout.decode_header(os.pread(fd, layout.PAGE, 0))
            word = time.monotonic_ns().to_bytes(layout.WORD, sys.byteorder)
            os.pwrite(fd, word, layout.HEADER_PRIVATE_BEAT * layout.WORD)
        finally:
            os.close(fd)


def remove(path: Path, suffixes: Iterable[str] = _LEDGER.suffixes) -> None:
    """Remove a file, a ledger's by default, and the lock files beside it."""
    for suffix in suffixes:
        path.with_suffix(suffix).unlink(missing_ok=True)


def _left_behind(path: Path, kind: _Kind, identity: Identity) -> bool:
    """Tell whether a file belongs to an instance that has ended, as far as can be told."""
    if identity.told and path.stem == identity.name:
        # For a moment nobody may live who has a slot, and the server may have been replaced.
        return False
    held = path.with_suffix(kind.locks)
    try:
        # The locks last: to look at those of this process's own would drop them.
        return _ended(path, kind, identity) and not has_open(held) and not _locked(held, kind)
    except (OSError, LedgerError):
        return False


def _locked(held: Path, kind: _Kind) -> bool:
    locks = RangeLocks(held)
    try:
        return locks.owned(0, kind.bytes)
    finally:
        locks.close()


def _ended(path: Path, kind: _Kind, identity: Identity) -> bool:
    fd = open_private(path, os.O_RDONLY)
    try:
        age = time.time_ns() / 1e9 - os.fstat(fd).st_mtime
        page = os.pread(fd, layout.PAGE, 0)
    finally:
        os.close(fd)
    try:
        header = layout.decode_header(page, magic=kind.magic)
    except LedgerError:
        return age > _STRANGER_SECONDS
    if header.boot != identity.boot:
        return True
    if header.network != identity.network:
        return age > _STRANGER_SECONDS
    words = memoryview(page).cast("Q")
    server = Process(words[layout.HEADER_SERVER_PID], words[layout.HEADER_SERVER_START])
    return not server.alive
