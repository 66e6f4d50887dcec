"""Where ledgers lie, and how their files are opened: nobody else may have planted them."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelmon.errors import LedgerError


if TYPE_CHECKING:
    from collections.abc import Iterable


# What has descriptors of its own, and is never to close them.
_kept: Final[list[object]] = []


def candidates(*, chosen: str | None, runtime_dir: str | None, tmp_dir: str) -> list[Path]:
    """Return the directories to try, best first; a directory that the user chose is the only one.

    Memory is preferred to disk: nothing is worth keeping beyond a reboot, and a slow disk would
    be felt in page write-back.
    """
    if chosen:
        return [Path(chosen)]
    own = f"otelmon-{os.geteuid()}"
    places = [Path("/dev/shm") / own, Path(tmp_dir) / own]  # noqa: S108 - made 0700 and checked
    return [Path(runtime_dir) / "otelmon", *places] if runtime_dir else places


def first_usable(places: Iterable[Path]) -> Path:
    """Return the first directory that can be made and is nobody else's.

    Which one it is depends on the machine alone, never on how full it is: all workers of an
    instance must come to the same answer.

    Raises:
        LedgerError: none can be used; the message says why for each.
    """
    refusals = []
    for place in places:
        try:
            prepare(place)
        except (OSError, LedgerError) as error:
            refusals.append(f"{place}: {error}")
        else:
            return place
    raise LedgerError(f"No directory can hold the ledger ({'; '.join(refusals)}).")


def prepare(place: Path) -> None:
    """Make *place* a directory of mode 0700, or raise if it is one that others can write to.

    What is there already keeps its mode: it may be anything that a user named.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            raise LedgerError(f"The directory belongs to user {found.st_uid}, not to this one.")
        if stat.S_IMODE(found.st_mode) & 0o022:
            raise LedgerError(
                f"Others can write to the directory, whose mode is "
                f"{stat.S_IMODE(found.st_mode):04o}; give one of this user's own."
            )
        if os.statvfs(fd).f_flag & os.ST_RDONLY or not _may_write(place):
            raise LedgerError("The directory cannot be written to.")
    finally:
        os.close(fd)


def _may_write(place: Path) -> bool:
    """Ask for the rights that opening goes by: a server may have others than who started it."""
    return os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def open_private(path: Path, flags: int) -> int:
    """Open a regular file of this user's, never through a link; created with mode 0600."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(fd)
        raise LedgerError(f"{path} is not a regular file of user {os.geteuid()}.")
    return fd


def is_open_on(fd: int, wanted: os.stat_result) -> bool:
    """Tell whether a descriptor is still that of a file, as `os.fstat` told of it when it was opened.

    An application may close numbers that it has not opened, as daemons do, and get them again for
    files and sockets of its own.
    """
    try:
        return os.path.samestat(os.fstat(fd), wanted)
    except OSError:
        return False


def close_own(fd: int, wanted: os.stat_result) -> bool:
    """Close a descriptor unless it is another file's by now; tell whether it was the wanted one's."""
    own = is_open_on(fd, wanted)
    if own:
        os.close(fd)
    return own


def mapped(fd: int, length: int, *, at: int = 0, access: int = mmap.ACCESS_DEFAULT) -> mmap.mmap:
    """Map a part of a file; from Python 3.13 on the map has no descriptor of its own."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, length, access=access, offset=at, trackfd=False)
    return mmap.mmap(fd, length, access=access, offset=at)


def keep_mapped(*maps: object) -> None:
    """Never free these, which would close numbers that are others' by now: see `is_open_on`."""
    if sys.version_info < (3, 13):
        _kept.extend(maps)
