"""What a process holds, as the kernel sees it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from tests.held_locks import locks_of


class Inventory(NamedTuple):
    """Threads, open files and sockets, and locks of one process."""

    threads: int
    files: tuple[str, ...]
    """What its descriptors are open on; sockets and pipes only by their kind"""
    ports: tuple[int, ...]
    locks: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Look at a process."""
        process = Path(f"/proc/{pid}")
        links = (_link(entry) for entry in (process / "fd").iterdir())
        return cls(
            threads=len(list((process / "task").iterdir())),
            # The directory that is being read is open in the reader.
            files=tuple(sorted(link for link in links if link and not link.endswith("/fd"))),
            ports=tuple(
                sorted(
                    each.laddr.port
                    for each in psutil.Process(pid).net_connections("tcp")
                    if each.status == psutil.CONN_LISTEN
                )
            ),
            locks=len(locks_of(pid)),
        )

    @classmethod
    def own(cls) -> Self:
        """Look at this process."""
        return cls.of(os.getpid())

    def dump(self) -> str:
        """Return it as JSON."""
        return json.dumps(self)

    @classmethod
    def load(cls, text: str) -> Self:
        """Read what `dump` wrote."""
        threads, files, ports, locks = json.loads(text)
        return cls(threads, tuple(files), tuple(ports), locks)


def _link(entry: Path) -> str | None:
    try:
        return str(entry.readlink()).partition("[")[0]
    except FileNotFoundError:
        return None
