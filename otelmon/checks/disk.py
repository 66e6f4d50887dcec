"""Space of a filesystem."""

from __future__ import annotations

from otelmon.errors import ConfigError, OtelmonError


class DiskFullError(OtelmonError):
    """A filesystem has less space than it must have."""


class DiskCheck:
    """There are *free_bytes* on the filesystem of *path* for the user of this process, 100 MB unless said.

    The alert of the disk tells how full it is getting; this tells that what must be written there
    soon cannot be.
    """

    def __init__(self, path: str = ".", *, free_bytes: int = 100_000_000) -> None:
        """Look at nothing yet.

        Raises:
            ConfigError: *free_bytes* is no number of bytes.
        """
        if free_bytes < 0:
            raise ConfigError(f"free_bytes is {free_bytes!r}: give a whole number of bytes from 0.")
        self._path = path
        self._free_bytes = free_bytes

    def __call__(self) -> None:
        """Look.

        Raises:
            DiskFullError: there is less space.
            OSError: there is no such path, or it cannot be looked at.
        """
        # Here, because most processes never look; it imports all that packs files.
        import shutil

        free = shutil.disk_usage(self._path).free
        if free < self._free_bytes:
            raise DiskFullError(
                f"{self._path!r} has {free} bytes free where {self._free_bytes} belong."
            )
