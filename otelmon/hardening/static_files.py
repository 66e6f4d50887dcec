"""All static files below a root, by URL: WhiteNoise's index, without what must not be shown."""

from __future__ import annotations

import logging
import os
import posixpath
import re
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from wsgiref.headers import Headers

from whitenoise import WhiteNoise

from otelmon.hardening import manifest
from otelmon.hardening.static_file import NOSNIFF, SeenFile
from otelmon.hardening.tree import Tree, identity


if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelmon.hardening.tree import Found


log = logging.getLogger("otelmon")

SHORT: Final = 3600
"""Seconds that a name is cached which may stand for another content tomorrow"""
_ENCODINGS: Final = {"gzip": ".gz", "br": ".br"}
# With a backslash too: to Windows, and to some applications, it is a slash.
_HIDDEN: Final = re.compile(r"(?:^|[/\\])\.")


class _Seen(NamedTuple):
    """All that one look at the root has shown."""

    stamp: tuple[int, ...] | None
    """What is another once the list of hashed names is"""
    tree: Tree
    found: dict[str, Found]
    """By name, the compressed variants among them"""
    listed: str | None
    """The file of the list, which is nobody's business"""
    hashed: frozenset[str]
    files: dict[str, SeenFile]
    """By URL, those that were asked for: to make all of many thousands would take seconds"""


class StaticFiles(WhiteNoise):  # type: ignore[misc]
    """The files of *root*, seen once; what changes afterwards is seen when it is asked for."""

    def __init__(self, root: str, prefix: str, *, max_age: int, hashed: str | None) -> None:
        """Look at all files."""
        self.root = root
        self.prefix = prefix
        self.FOREVER = max_age
        self._pattern = re.compile(hashed) if hashed else None
        self._turn = threading.Lock()
        super().__init__(None, max_age=min(SHORT, max_age), allow_all_origins=False)
        self._seen = self._look()
        if not self._seen.found:
            log.warning("Static has no file to serve: there is none in %s.", root)

    def at(self, url: str) -> SeenFile | None:
        """Return the file at *url*; None if there is none, also none that the last list brought."""
        file = self._seen.files.get(url)
        if file is not None:
            return file
        # One thread looks; the others go on with what there was.
        if self._stamp() != self._seen.stamp and self._turn.acquire(blocking=False):
            try:
                self._seen = self._look()
            finally:
                self._turn.release()
        seen, name = self._seen, url[len(self.prefix) :]
        if name not in seen.found or _is_variant(name, seen.found):
            return None
        seen.files[url] = file = self._file(name, seen, seen.found)
        return file

    def renewed(self, url: str) -> SeenFile | None:
        """Return the file at *url* after it has changed; None if there is none now.

        What is gone stays known: who deletes a file to write it anew brings it back.
        """
        seen, name = self._seen, url[len(self.prefix) :]
        names = (name, *(name + end for end in _ENCODINGS.values()))
        looked = {each: seen.tree.file(each) for each in names}
        found = {each: file for each, file in looked.items() if file is not None}
        if name not in found:
            return None
        seen.files[url] = file = self._file(name, seen, found)
        return file

    def refuses(self, path: str) -> bool:
        """Tell whether what was not found at *path*, as a server hands it on, is to be nobody's.

        Else the application is asked, and it may have the very directory for static files of its own
        (Flask does), follow links and show hidden files. So what lies below the root and is not
        shown is refused by every spelling that leads there, and so is each name with a dot in
        front, wherever that may lie; the latter not where the prefix is `/`, as all paths of the
        application are below that, its `/.well-known/` too.
        """
        name = os.fsdecode(path.encode("latin-1", "replace"))
        if self.prefix != "/" and _HIDDEN.search(name):
            return True
        name = posixpath.normpath(f"/{name}").lstrip("/")
        # The first look is all that most misses cost.
        if not name or not os.path.lexists(f"{self.root}/{name}"):
            return False
        found = self._seen.tree.find(name)
        return found is None or self._is_kept_back(found)

    def _is_kept_back(self, found: Found) -> bool:
        """Tell whether what may be shown in itself is none of the files that are."""
        mode, name = found.status.st_mode, found.name
        if not stat.S_ISREG(mode):
            return not stat.S_ISDIR(mode)
        is_list = found.real == self._seen.listed
        return is_list or (_is_packed(name) and self._seen.tree.file(name[:-3]) is not None)

    def _look(self) -> _Seen:
        """Look at all files, the list of hashed names first: it is written last."""
        stamp = self._stamp()
        listed = manifest.read(Path(self.root))
        name, hashed = (None, frozenset[str]()) if listed is None else (listed.name, listed.hashed)
        tree = Tree(self.root)
        found = {each.name: each for each in tree.files() if each.real != name}
        return _Seen(stamp, tree, found, name, hashed, {})

    def _stamp(self) -> tuple[int, ...] | None:
        for name in (manifest.NAME, manifest.DJANGO):
            try:
                return identity(os.stat(os.path.join(self.root, name)))  # noqa: PTH116, PTH118 - half the cost
            except OSError:
                continue
        return None

    def _file(self, name: str, seen: _Seen, found: Mapping[str, Found]) -> SeenFile:
        variants: dict[str | None, Found] = {None: found[name]}
        for encoding, end in _ENCODINGS.items():
            if name + end in found:
                variants[encoding] = found[name + end]
        headers = Headers([NOSNIFF, ("Accept-Ranges", "bytes")])
        self.add_mime_headers(headers, name, name)
        self.add_cache_headers(headers, name, name)
        return SeenFile(seen.tree, headers.items(), variants)

    def immutable_file_test(self, path: str, url: str) -> bool:  # noqa: ARG002 - WhiteNoise's
        """Tell whether a name never stands for another content."""
        if self.FOREVER == 0:
            return False
        fits = self._pattern is not None and self._pattern.search(path)
        return bool(fits) or path in self._seen.hashed


def _is_variant(name: str, found: Mapping[str, Found]) -> bool:
    return _is_packed(name) and name[:-3] in found


def _is_packed(name: str) -> bool:
    return name.endswith(tuple(_ENCODINGS.values()))
