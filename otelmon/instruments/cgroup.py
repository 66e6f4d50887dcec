"""Where this process stands in the trees of control groups, and what their files say.

Version 2 has one tree, version 1 one for each controller, and a hybrid has both: a controller is
looked for where version 1 has it mounted, else in version 2. A file that is not there, or whose
device is gone, says None; one whose words nobody knows is a ValueError.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


UNIFIED: Final = ""
"""The name under which the one tree of version 2 is asked for, whatever version 1 has"""

# What the kernel answers where there is no such figure: no file, a group that was removed while its
# file was opened, or a feature that is switched off.
_ABSENT: Final = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOSYS)
)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_DIGITS: Final = re.compile(r"[0-9]{1,20}")


class Mount(NamedTuple):
    """A tree of groups, or a part of one, as it is mounted."""

    root: str
    """The group that stands at the mount point"""
    point: str
    controllers: frozenset[str]


class Tightest(NamedTuple):
    """The smallest of the limits between a group and the mount point."""

    limit: float
    level: int
    """How far up it is set: 0 is the process's own group"""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of this process's, and those above it as far as they can be seen."""

    version: int
    path: tuple[Path, ...]
    """Its own directory first, the mount point last"""
    _heard: dict[tuple[str, int], str | None] = field(default_factory=dict, compare=False)

    def text(self, name: str, level: int = 0) -> str | None:
        """Return what a file says, as it was first read in this round; None without such a file.

        Raises:
            OSError: it is there and cannot be read.
        """
        if level >= len(self.path):
            return None
        key = name, level
        if key not in self._heard:
            self._heard[key] = text(self.path[level] / name)
        return self._heard[key]

    def renew(self) -> None:
        """Begin a round, in which every file is read anew, and once."""
        self._heard.clear()

    def count(self, name: str, level: int = 0) -> int | None:
        """Return the one number that a file holds."""
        said = self.text(name, level)
        return None if said is None else count(said)

    def entry(self, name: str, key: str, level: int = 0) -> int | None:
        """Return the number behind *key* in a file of lines of two words."""
        said = self.text(name, level)
        return None if said is None else entry(said, key)

    def tightest(self, limit: Callable[[int], float | None]) -> Tightest | None:
        """Ask for the *limit* of each level; return the smallest, of equal ones the innermost."""
        asked = ((limit(level), level) for level in range(len(self.path)))
        known = [Tightest(value, level) for value, level in asked if value is not None]
        return min(known, default=None)


class Cgroups:
    """The groups of this process, found once and again when it was moved to others.

    *root* is the directory below which `proc` and the mount points lie.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        """Look at nothing yet."""
        self._root = root
        self._said: str | None = None
        self._memberships: dict[str, str] = {}
        self._mounts: list[Mount] = []
        self._groups: dict[str, Group | None] = {}

    def renew(self) -> None:
        """Begin a round: find out whether the process was moved, and forget what the files said."""
        said = text(self._root / "proc/self/cgroup")
        if said != self._said:
            self._memberships = memberships(said or "")
            self._mounts = list(mounts(text(self._root / "proc/self/mountinfo") or ""))
            self._groups = {}
            self._said = said
        for group in self._groups.values():
            if group is not None:
                group.renew()

    def group(self, controller: str) -> Group | None:
        """Return the group that has the *controller*; None where it is the whole machine's."""
        if self._said is None:
            self.renew()
        if controller not in self._groups:
            self._groups[controller] = self._find(controller)
        return self._groups[controller]

    def _find(self, controller: str) -> Group | None:
        for version, name in ((1, controller), (2, UNIFIED)):
            member = self._memberships.get(name)
            if member is None or (version == 1 and name == UNIFIED):
                continue
            mounts = [mount for mount in self._mounts if name in mount.controllers]
            if mounts:
                return self._found(version, member, mounts)
        return None

    def _found(self, version: int, member: str, mounts: Iterable[Mount]) -> Group | None:
        for mount in mounts:
            below = relative(member, mount.root)
            if below is None:
                continue
            top = self._root / mount.point.lstrip("/")
            path = (top / below, *(top / above for above in PurePosixPath(below).parents))
            if path[0].is_dir():
                group = Group(version, path)
                return None if _is_machine(group) else group
        return None


def _is_machine(group: Group) -> bool:
    """Tell whether this is the first group of all, which holds every process of the machine."""
    if len(group.path) > 1:
        return False
    # The first group of version 1 alone has the one file, that of version 2 alone lacks the other.
    # Within a namespace any group may stand at the mount point and be called "/".
    if group.version == 1:
        return (group.path[0] / "release_agent").exists()
    return not (group.path[0] / "cgroup.type").exists()


def memberships(said: str) -> dict[str, str]:
    """Return the path by controller out of `/proc/self/cgroup`; lines of another form are none's."""
    found: dict[str, str] = {}
    for line in said.splitlines():
        number, *rest = line.split(":", 2)
        if len(rest) == 2 and rest[1].startswith("/"):
            for controller in rest[0].split(","):
                if controller or number == "0":
                    found.setdefault(controller, rest[1])
    return found


def mounts(said: str) -> Iterator[Mount]:
    """Yield the mounts of groups out of `/proc/self/mountinfo`, the latest first.

    One that was mounted over another hides it.
    """
    for line in reversed(said.splitlines()):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        root, point = unescaped(fields[3]), unescaped(fields[4])
        if kind[0] == "cgroup2":
            yield Mount(root, point, frozenset((UNIFIED,)))
        elif kind[0] == "cgroup":
            yield Mount(root, point, frozenset(kind[-1].split(",")) - {UNIFIED})


def unescaped(path: str) -> str:
    """Return a path of `mountinfo` with its spaces and the like as they are."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), path)


def relative(member: str, root: str) -> str | None:
    """Return where below the mount point of *root* the group *member* stands.

    A path with `..` in it leads out of what this namespace shows. A mount of a group in whose path
    the process does not stand is, in a container, that of its own group.
    """
    path, above = PurePosixPath(member), PurePosixPath(root)
    if ".." in path.parts or ".." in above.parts:
        return None
    return str(path.relative_to(above)) if path.is_relative_to(above) else "."


class Readable(Protocol):
    """What is asked of a path."""

    def read_bytes(self) -> bytes:
        """Return all that it holds."""


def text(path: Readable) -> str | None:
    """Return what a file says; None if there is none or it has nothing to say."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def count(said: str) -> int:
    """Return a whole number.

    Raises:
        ValueError: it is none, or less than 0, or more than the kernel can count.
    """
    word = said.strip()
    if not _DIGITS.fullmatch(word):
        raise ValueError(f"A count is expected, not {said[:40]!r}.")
    return int(word)


def entry(said: str, key: str) -> int | None:
    """Return the count behind *key*; None without such a line."""
    for line in said.splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return count(value)
    return None
