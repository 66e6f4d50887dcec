"""Control groups for tests: recorded trees below a directory, and one that the kernel really has."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelmon.instruments.cgroup import mounts
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


MIB: Final = 2**20
PRESSURE: Final = (
    "some avg10={some} avg60=1.00 avg300=2.00 total=123\n"
    "full avg10={full} avg60=0.00 avg300=0.00 total=4\n"
)
_MOUNT: Final = "{number} 31 0:{number} {root} {point} rw,relatime - {kind} {kind} rw{options}\n"


def plant(root: Path, tree: dict[str, str]) -> Path:
    """Write the files of a tree, by their paths below *root*; add to one that is there already."""
    for name, words in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(words)
    return root


def mounted(*trees: tuple[str, str, str]) -> str:
    """Return a `mountinfo` of trees, each of a mount point, a root and its controllers."""
    lines = ["23 1 0:21 / / rw,relatime - ext4 /dev/vda1 rw\n"]
    for number, (point, root, controllers) in enumerate(trees, 32):
        kind, options = ("cgroup", f",{controllers}") if controllers else ("cgroup2", "")
        lines.append(
            _MOUNT.format(number=number, root=root, point=point, kind=kind, options=options)
        )
    return "".join(lines)


class Real:
    """A group of the machine's own that allows half a CPU and 200 MiB."""

    def __init__(self, directories: dict[str, Path]) -> None:
        """Know it by the directory of each controller, which is the same one in version 2."""
        self._directories = directories

    def limit(self) -> None:
        """Set the limits; periods are short, so that a sample never ends far inside of one."""
        if self._has("cpu", "cpu.max"):
            self._write("cpu", "cpu.max", "5000 10000")
            self._write("cpu", "cpu.weight", "10000")
            self._write("memory", "memory.max", str(200 * MIB))
            return
        self._write("cpu", "cpu.cfs_period_us", "10000")
        self._write("cpu", "cpu.cfs_quota_us", "5000")
        # Whatever else the machine has to do, what the limit allows is to be had.
        self._write("cpu", "cpu.shares", "262144")
        self._write("memory", "memory.limit_in_bytes", str(200 * MIB))

    def take(self, pid: int) -> None:
        """Move a process into the group."""
        for directory in set(self._directories.values()):
            (directory / "cgroup.procs").write_text(str(pid))

    def memory(self) -> int:
        """Return the bytes in use, by the kernel's word."""
        name = "memory.current" if self._has("memory", "memory.current") else _V1_USAGE
        return int((self._directories["memory"] / name).read_text())

    def _has(self, controller: str, name: str) -> bool:
        return (self._directories[controller] / name).exists()

    def _write(self, controller: str, name: str, value: str) -> None:
        (self._directories[controller] / name).write_text(value)


_V1_USAGE: Final = "memory.usage_in_bytes"
_CONTROLLERS: Final = ("cpu", "cpuacct", "memory", "pids")


@contextmanager
def real() -> Iterator[Real]:
    """Make the group, and remove it whatever happens, once its processes are gone.

    Raises:
        OSError, LookupError: the kernel refuses, or has no groups mounted.
    """
    with ExitStack() as stack:
        directories = {name: _tops()[name] / f"otelmon-{os.getpid()}" for name in _CONTROLLERS}
        for directory in dict.fromkeys(directories.values()):
            directory.mkdir()
            stack.callback(_remove, directory)
        group = Real(directories)
        group.limit()
        yield group


@contextmanager
def wearing(group: Real, code: str) -> Iterator[None]:
    """Run a program in the group until the end of the block; it may begin when it is told a line."""
    burner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    try:
        group.take(burner.pid)
        assert burner.stdin is not None
        burner.stdin.write("go\n")
        burner.stdin.close()
        yield
    finally:
        burner.kill()
        burner.wait()


def _tops() -> dict[str, Path]:
    """Return where the groups of each controller are; a KeyError names one that is not mounted."""
    found: dict[str, Path] = {}
    for mount in mounts(Path("/proc/self/mountinfo").read_text()):
        top = Path(mount.point)
        if mount.controllers == {""}:
            given = top / "cgroup.controllers"
            for name in given.read_text().split() if given.exists() else ():
                (top / "cgroup.subtree_control").write_text(f"+{name}")
                found[name] = top
            if "cpu" in found:
                found["cpuacct"] = found["cpu"]
        else:
            found |= dict.fromkeys(mount.controllers, top)
    return found


def _remove(directory: Path) -> None:
    assert until(lambda: _removed(directory)), f"{directory} has processes in it."


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return not directory.exists()
    return True
