"""Which process a serving one comes from, and which sockets they have in common.

That is asked where the server does not tell, and matters where its processes share no socket that
lasts: then who made them names the instance.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from otelmon import embedding
from otelmon.ledger import sockets
from otelmon.ledger.identity import has_one, links


if TYPE_CHECKING:
    from collections.abc import Sequence


class Parent(NamedTuple):
    """The process that may be the server, and how this one belongs to it."""

    pid: int
    certain: bool = False
    """True if it is the server for certain, not only if it has one of the sockets"""
    group: str | None = None
    """What its processes have in common where that is not their sockets"""


def parent(descriptors: Sequence[int], *, forker: int | None) -> Parent:
    """Return what this process comes from.

    *descriptors* are its listening sockets; *forker* is the process that wrapped the application
    and forked this one, if any did.
    """
    daemons = embedding.daemon_group()
    if daemons is not None:
        return Parent(os.getppid(), certain=True, group=daemons)
    maker = _maker() or forker
    if maker is None or has_one(maker, links(descriptors)):
        return Parent(maker or os.getppid())
    # Children that bind one address each for itself, as SO_REUSEPORT lets them, are of one server.
    addresses = sorted({sockets.address(fd) for fd in descriptors if sockets.reuses_port(fd)})
    if not addresses:
        return Parent(os.getppid())
    return Parent(maker, certain=True, group=" ".join(addresses))


def _maker() -> int | None:
    """Return the process that made this one by multiprocessing."""
    multiprocessing: Any = sys.modules.get("multiprocessing.process")
    made_by = None if multiprocessing is None else multiprocessing.parent_process()
    return None if made_by is None else int(made_by.pid)


def listening() -> list[int]:
    """Return the server's listening sockets in this process.

    In a fork those that its parent has too, if any: what the application listens on beside them,
    for a debugger perhaps, is another socket in every process.
    """
    found = sockets.listening()
    parent = os.getppid()
    if len(found) < 2 or not _is_copy_of(parent):
        return found
    return [fd for fd in found if has_one(parent, links([fd]))] or found


def _is_copy_of(parent: int) -> bool:
    """Tell whether this process still runs what *parent* runs, as a fork does.

    A program that was started may have inherited sockets that are none of its own.
    """
    try:
        own, other = (Path(f"/proc/{pid}/cmdline").read_bytes() for pid in ("self", parent))
    except OSError:
        return False
    return own == other
