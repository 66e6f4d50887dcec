"""The files below a directory that may be shown: no dotfiles, and nothing that lies elsewhere."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterator


_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)  # none of these on Windows
_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
# A pipe that took its place is not to be waited for.
_FILE: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _NO_LINK


class Found(NamedTuple):
    """A regular file."""

    name: str
    """Its path from the directory, with slashes, as a URL shows it"""
    real: str
    """The same with every symbolic link followed: still a path from the directory"""
    status: os.stat_result

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """Return what is another once the file was replaced or written to."""
        return identity(self.status)


def identity(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return what is another once a file was replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Tree:
    """A directory as it was when this was made: where it really lies does not change afterwards."""

    def __init__(self, root: str) -> None:
        """Look at *root*, which must be a directory when files are asked for."""
        self.root = os.path.realpath(root)
        self.unread: list[str] = []
        """Directories that `files` was not allowed to read, as paths from the root"""

    def files(self) -> Iterator[Found]:
        """Return all files in the order of their names, each under every name that leads to it."""
        return self._below("", "", frozenset(("",)))

    def _below(self, name: str, real: str, above: frozenset[str]) -> Iterator[Found]:
        try:
            with os.scandir(os.path.join(self.root, real)) as entries:  # noqa: PTH118 - half the cost
                inside = sorted(entries, key=lambda entry: entry.name)
        except PermissionError:
            self.unread.append(real)
            return
        except OSError:
            # Gone meanwhile.
            return
        for entry in inside:
            found = self._found(name, real, entry)
            if found is None:
                continue
            if stat.S_ISREG(found.status.st_mode):
                yield found
            elif stat.S_ISDIR(found.status.st_mode) and found.real not in above:
                yield from self._below(f"{found.name}/", f"{found.real}/", above | {found.real})

    def _found(self, name: str, real: str, entry: os.DirEntry[str]) -> Found | None:
        """Return what one entry of a directory is; only links have to be followed to know that."""
        if entry.is_symlink():
            return self.find(f"{name}{entry.name}")
        if entry.name.startswith("."):
            return None
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            return None
        return Found(f"{name}{entry.name}", f"{real}{entry.name}", status)

    def find(self, name: str) -> Found | None:
        """Return what *name* leads to, a file or not; None if it may not be shown."""
        try:
            path = os.path.realpath(os.path.join(self.root, name))  # noqa: PTH118 - as above
            real = os.path.relpath(path, self.root).replace(os.sep, "/")
            parts = f"{name}/{real}".split("/")
            # A link to `.git/config` is as hidden as that; `..` leads out.
            if any(part.startswith(".") for part in parts):
                return None
            return Found(name, real, os.stat(path, follow_symlinks=False))  # noqa: PTH116 - as above
        except (OSError, ValueError):
            # Also from realpath, where a link goes between its two looks at it.
            return None

    def file(self, name: str) -> Found | None:
        """Return the regular file that *name* leads to; None if it may not be shown."""
        found = self.find(name)
        return found if found is not None and stat.S_ISREG(found.status.st_mode) else None

    def open(self, real: str) -> int:
        """Return a descriptor of the file at *real*, following no link, whatever lies there now.

        Raises:
            OSError: it is not there, or a link took the place of it or of a directory above it.
        """
        if os.open not in os.supports_dir_fd:  # Windows
            found = self.find(real)
            if found is None or found.real != real:
                raise FileNotFoundError(real)
            return os.open(os.path.join(self.root, real), _FILE)  # noqa: PTH118 - as above
        *directories, name = real.split("/")
        at = os.open(self.root, _DIRECTORY)
        try:
            for directory in directories:
                below = os.open(directory, _DIRECTORY, dir_fd=at)
                os.close(at)
                at = below
            return os.open(name, _FILE, dir_fd=at)
        finally:
            os.close(at)
