"""Space of a filesystem."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from otelmon.errors import OtelmonError
from otelmon.loading import apart_from_forks
from otelmon.settings.arguments import refuse
from otelmon.settings.rules import number
from otelmon.settings.text import shown


if TYPE_CHECKING:
    from collections.abc import Iterable


_BYTES: Final = number("bytes", 0)


class DiskFullError(OtelmonError):
    """A filesystem has less space than it must have."""


class DiskCheck:
    """There are *free_bytes* on the filesystem of *path* for the user of this process, 100 MB unless said.

    The alert of the disk tells how full it is getting; this tells that what must be written there
    soon cannot be.
    """

    def __init__(
        self, path: str | os.PathLike[str] = ".", *, free_bytes: float = 100_000_000
    ) -> None:
        """Look at nothing yet.

        Raises:
            ConfigError: *path* is no path, or *free_bytes* no number of bytes.
        """
        refuse(_problems(path, free_bytes))
        self._path = os.fspath(path)
        self._free_bytes = free_bytes

    def __call__(self) -> None:
        """Look.

        Raises:
            DiskFullError: there is less space.
            OSError: there is no such path, or it cannot be looked at.
        """
        # Here, because most processes never look; it imports all that packs files.
        with apart_from_forks():
            import shutil

        free = shutil.disk_usage(self._path).free
        if free < self._free_bytes:
            raise DiskFullError(
                f"{self._path!r} has {free} bytes free where {self._free_bytes} belong."
            )


def _problems(path: object, free_bytes: object) -> Iterable[str]:
    # A number would be a descriptor, whatever file that is.
    if not isinstance(path, str | os.PathLike):
        yield f"path is {shown(path)}: give the path of a directory or file."
    if not _BYTES.holds(free_bytes):
        yield f"free_bytes is {shown(free_bytes)}: give {_BYTES.says}."
