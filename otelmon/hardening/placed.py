"""Files below a directory that a server may be reading: each is there as a whole, or not at all."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from typing import TYPE_CHECKING

from otelmon.errors import OtelmonError
from otelmon.hardening.tree import Tree, identity


if TYPE_CHECKING:
    from pathlib import Path


class Placed:
    """Writes and removes below *root*, and counts that."""

    def __init__(self, root: Path) -> None:
        """Make the directory if need be."""
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self._tree = Tree(str(root))
        self.written = 0
        self.removed = 0

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return self._tree.file(name) is not None

    def has(self, name: str, content: bytes | Path) -> bool:
        """Tell whether *name* holds *content*, or what the file *content* holds."""
        found = self._tree.file(name)
        if found is None or found.real != name:
            return False
        path = self.root / name
        if isinstance(content, bytes):
            return found.status.st_size == len(content) and path.read_bytes() == content
        return filecmp.cmp(path, content, shallow=False)

    def put(
        self,
        name: str,
        content: bytes | Path,
        *,
        modified: int | None = None,
        seen: tuple[int, ...] | None = None,
    ) -> None:
        """Write *content* to *name* unless it is there; *modified* is its time in ns since 1970.

        A file must still be the one that was *seen*, by its `identity`.

        Raises:
            OtelmonError: a link leads its directory out of the root, or the file is another now.
        """
        if self.has(name, content):
            return
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self._tree.root):
            raise OtelmonError(f"{str(path.parent)!r} leads out of the root: remove the link.")
        # A dotfile: nobody serves it.
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file)
                        if seen and identity(os.fstat(source.fileno())) != seen:
                            raise OtelmonError(
                                f"{str(content)!r} was written to while it was collected: run "
                                "collect again when nobody does."
                            )
            if modified is not None:
                os.utime(temporary, ns=(modified, modified))
            temporary.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        self.written += 1

    def remove(self, name: str, *, counted: bool) -> None:
        """Remove a file if it is there; what lies outside of the root, or is hidden, stays."""
        if self.exists(name):
            (self.root / name).unlink()
            self.removed += counted
