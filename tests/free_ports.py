"""Ports of 127.0.0.1 that nobody else has, among all processes of a test run and of others beside it."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final


# Below those that the kernel gives to who asks for any, clients' too: it gives none of ours away.
_LOWEST: Final = 10_000
_LENT: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


class _Ports:
    """Those that this process has taken: a byte each of one file, locked until the process ends.

    A port that is only looked at is free for the next one who looks. Between a look and the server
    that was started for it another test's server could come, and answer in its place.
    """

    def __init__(self) -> None:
        """Take none yet."""
        self._highest = int(_LENT.read_text().split()[0]) if _LENT.exists() else 32_768
        self._next = random.randrange(_LOWEST, self._highest)
        path = Path(tempfile.gettempdir()) / f"test-ports-{os.getuid()}"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> int:
        """Return one that nobody has; it comes once."""
        for _ in range(_LOWEST, self._highest):
            port = self._next
            self._next = port + 1 if port + 1 < self._highest else _LOWEST
            if self._locked(port) and _is_free(port):
                return port
        raise OSError(errno.EADDRINUSE, f"No port from {_LOWEST} to {self._highest - 1} is free.")

    def _locked(self, port: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except BlockingIOError:
            return False
        return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: what only waits for the last packets of an ended one is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_ports: Final = _Ports()
free_port: Final = _ports.take
