"""Which instance this process belongs to, found out without any hook or variable.

The kernel gives every socket a cookie that no other socket has until the next boot. Workers of one
server share its listening sockets, through forks and across gunicorn's USR2, and two servers never
do, not even with SO_REUSEPORT or with one name of a unix socket. So the cookies of the listening
sockets, with the boot and the network namespace, name the instance.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon import embedding
from otelmon.ledger import layout, sockets


if TYPE_CHECKING:
    from collections.abc import Iterable


_START_TIME: Final = 19  # field 22 of /proc/PID/stat, counted behind the command's name
_ENDED: Final = (b"Z", b"X")


class Process(NamedTuple):
    """A process for certain: ids are used again, the pair is not."""

    pid: int
    start: int  # clock ticks since boot

    @property
    def alive(self) -> bool:
        """Tell whether exactly this process still runs."""
        return start_time(self.pid) == self.start


class Identity(NamedTuple):
    """The instance that a serving process belongs to."""

    name: str
    server: Process
    boot: bytes
    network: int
    told: bool = False
    """True if the sockets told the name, so that whoever has them is of the instance"""


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot.

    None if there is none, or if it has ended and its parent has not noticed yet.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # Behind the command's name, which may hold anything, also spaces and parentheses.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in _ENDED else int(fields[_START_TIME])


def boot_id() -> bytes:
    """Return the 16 bytes that the kernel chose at boot; zeros where there are none."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def network_namespace() -> int:
    """Return the inode of this process's network namespace; 0 where there are none."""
    try:
        return Path("/proc/self/ns/net").stat().st_ino
    except OSError:
        return 0


def identify(
    descriptors: Iterable[int],
    *,
    name: str | None,
    parent: int,
    worker: bool = False,
    group: str | None = None,
) -> Identity | None:
    """Return the instance that listens on *descriptors*, or None if the kernel names none.

    *name* overrides what the sockets say. *parent* is the server process if this one is known to
    be a *worker* of it, or shares one of the sockets with it; else this process is the server. If
    they share no socket that lasts, each worker listening on its own, the server names the instance
    together with the *group* of the workers.
    """
    descriptors = list(descriptors)
    cookies = sorted({cookie for fd in descriptors if (cookie := sockets.cookie(fd))})
    boot, network = boot_id(), network_namespace()
    # A worker that gave up its rights may not look into its parent, so it is not asked to.
    pid = parent if worker or has_one(parent, links(descriptors)) else os.getpid()
    server = Process(pid, start_time(pid) or 0)
    if not network:
        # No Linux: what is shared there has no locks that tell who lives.
        return None
    interpreter = embedding.interpreter()
    if name is not None:
        name = "-".join(filter(None, (name, interpreter, f"{layout.LAYOUT:016x}")))
        return Identity(name, server, boot, network)
    if group is None and not cookies:
        return None
    names = cookies if group is None else [f"{server.pid} {server.start} {group}".encode()]
    if interpreter:
        names.append(f" in {interpreter}".encode())
    # With the layout, so that the processes of an upgrade each have a file that they can read.
    numbers = (number.to_bytes(8, "little") for number in (network, layout.LAYOUT))
    material = b"".join([boot, *numbers, *names])
    return Identity(hashlib.sha256(material).hexdigest()[:16], server, boot, network, group is None)


def links(descriptors: Iterable[int]) -> set[Path]:
    """Return what this process's descriptors are open on."""
    found = (_link(Path(f"/proc/self/fd/{fd}")) for fd in descriptors)
    return {link for link in found if link is not None}


def has_one(pid: int, wanted: set[Path]) -> bool:
    """Tell whether process *pid* has one of these open; False where it may not be looked into."""
    try:
        return any(_link(entry) in wanted for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _link(entry: Path) -> Path | None:
    """Return what a descriptor is open on, such as `socket:[4711]`; None if it has gone."""
    with contextlib.suppress(OSError):
        return entry.readlink()
    return None
