"""A small memory file system of the test's own, which can be filled up or made read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Final

from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


PAGE: Final = 4096


@contextlib.contextmanager
def mounted(place: Path, *, pages: int) -> Iterator[Path]:
    """Yield *place* with a file system of *pages* pages mounted there; it takes root."""
    place.mkdir()
    options = f"size={pages * PAGE},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "otelmon-tests", place], check=True)
    try:
        yield place
    finally:
        # Lazily, because a test's maps may still hold its files.
        subprocess.run(["umount", "--lazy", place], check=True)


def make_read_only(place: Path) -> None:
    """Let nobody write there any more, not even root."""
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)


def leave(place: Path, pages: int) -> None:
    """Fill the file system up until just *pages* pages are free."""
    filler = place / "filler"
    filler.unlink(missing_ok=True)
    fd, filled = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600), 0

    def is_full() -> bool:
        nonlocal filled
        free = os.statvfs(place).f_bavail - pages
        if free > 0:
            # A server that runs there may take some of them at the same moment.
            with contextlib.suppress(OSError):
                os.posix_fallocate(fd, filled, free * PAGE)
                filled += free * PAGE
        return os.statvfs(place).f_bavail == pages

    try:
        assert until(is_full)
    finally:
        os.close(fd)
