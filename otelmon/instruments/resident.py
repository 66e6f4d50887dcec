"""How much memory processes hold."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psutil


if TYPE_CHECKING:
    from collections.abc import Iterable


def resident(pids: Iterable[int]) -> dict[int, int]:
    """Return the resident set in bytes of those processes that can be asked."""
    found = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found[pid] = psutil.Process(pid).memory_info().rss
    return found
