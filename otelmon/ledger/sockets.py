"""What the kernel tells of a server's listening sockets, without disturbing the server."""

from __future__ import annotations

import _socket
import os
import socket
import stat
import struct
from typing import TYPE_CHECKING, Final, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable


T = TypeVar("T")

_SO_COOKIE: Final = 57
_SO_REUSEPORT: Final = getattr(socket, "SO_REUSEPORT", 15)
_TCP_INFO: Final = getattr(socket, "TCP_INFO", 11)
# struct tcp_info: of a listening socket, the 32-bit word at byte 24 is the accept queue's length.
_QUEUE: Final = struct.Struct("@24xI")


def listening() -> list[int]:
    """Return the descriptors of this process's listening sockets; none where /proc is missing."""
    try:
        entries = os.listdir("/proc/self/fd")  # noqa: PTH208 - names of descriptors, not paths
    except OSError:
        return []
    return sorted(fd for fd in map(int, entries) if any(_option(fd, socket.SO_ACCEPTCONN, 4)))


def cookie(fd: int) -> bytes | None:
    """Return the 8 bytes that tell this socket from all others of this boot."""
    found = _option(fd, _SO_COOKIE, 8)
    return found if any(found) else None


def reuses_port(fd: int) -> bool:
    """Tell whether other sockets may be bound to the same port."""
    return any(_option(fd, _SO_REUSEPORT, 4))


def address(fd: int) -> str:
    """Return what a socket is bound to, empty if it is none."""
    return str(_asked(fd, _socket.socket.getsockname, ""))


def place(descriptors: list[int]) -> str:
    """Return the host's name, with the port of the first TCP socket among these if there is one."""
    bound = (_asked(fd, _socket.socket.getsockname, None) for fd in descriptors)
    ports = [each[1] for each in bound if isinstance(each, tuple) and len(each) > 1]
    host = socket.gethostname()
    return f"{host}:{ports[0]}" if ports else host


def backlog(descriptors: list[int]) -> int | None:
    """Return how many connections wait to be accepted; None if no socket tells (unix sockets)."""
    answers = [_option(fd, _TCP_INFO, _QUEUE.size, level=socket.IPPROTO_TCP) for fd in descriptors]
    queues = [_QUEUE.unpack(answer)[0] for answer in answers if len(answer) == _QUEUE.size]
    return sum(queues) if queues else None


def _option(fd: int, option: int, length: int, *, level: int = socket.SOL_SOCKET) -> bytes:
    """Return a socket's option, nothing if *fd* is no socket or has no such option."""
    return _asked(fd, lambda found: found.getsockopt(level, option, length), b"")


def _asked(fd: int, ask: Callable[[_socket.socket], T], otherwise: T) -> T:
    """Return what a socket answers, *otherwise* if *fd* is no socket or has no answer."""
    copy = _copy(fd)
    if copy is None:
        return otherwise
    blocking = os.get_blocking(copy)
    try:
        # Not socket.socket: gevent's would turn the server's socket non-blocking for good.
        found = _socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return otherwise
    try:
        return ask(found)
    except OSError:
        return otherwise
    finally:
        # Under a default timeout of the application's, every new socket object is non-blocking,
        # and so would be the server's own: the mode is the socket's, not the descriptor's.
        os.set_blocking(copy, blocking)
        found.close()


def _copy(fd: int) -> int | None:
    """Return a copy of a socket's descriptor; None if *fd* is no socket.

    A socket is asked by a copy, because another thread may close the number meanwhile, or use it
    again. Of a file none may be made: to close it would drop every POSIX lock that this process has
    on the file, those of SQLite for instance.
    """
    try:
        return os.dup(fd) if stat.S_ISSOCK(os.fstat(fd).st_mode) else None
    except OSError:
        return None
