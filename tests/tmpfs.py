"""A small memory file system of the test's own, which can be filled up or made read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Final


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
    free = os.statvfs(place).f_bavail - pages
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if free > 0:
            os.posix_fallocate(fd, 0, free * PAGE)
    finally:
        os.close(fd)
    assert os.statvfs(place).f_bavail == pages
