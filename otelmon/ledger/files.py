"""Where ledgers lie, and how their files are opened: nobody else may have planted them."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from otelmon.errors import LedgerError


if TYPE_CHECKING:
    from collections.abc import Iterable


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
