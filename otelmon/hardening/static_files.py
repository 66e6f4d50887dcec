"""All static files below a root, by URL: WhiteNoise's index, without what must not be shown."""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final
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


class StaticFiles(WhiteNoise):  # type: ignore[misc]
    """The files of *root*, seen once; what changes afterwards is seen when it is asked for."""

    def __init__(self, root: str, prefix: str, *, max_age: int, hashed: str | None) -> None:
        """Look at all files."""
        self.root = root
        self.prefix = prefix
        self.FOREVER = max_age
        self._pattern = re.compile(hashed) if hashed else None
        self._turn = threading.Lock()
        self.files: dict[str, SeenFile]
        super().__init__(None, max_age=min(SHORT, max_age), allow_all_origins=False)
        self._look()

    def renewed(self, url: str) -> SeenFile | None:
        """Return the file at *url* after it has changed; None if there is none any more."""
        name = url[len(self.prefix) :]
        found = self._tree.file(name)
        if found is None:
            self.files.pop(url, None)
            return None
        variants = {name + end: self._tree.file(name + end) for end in _ENCODINGS.values()}
        present = {name: each for name, each in variants.items() if each is not None}
        self.files[url] = renewed = self._file(found, present)
        return renewed

    def missed(self, url: str) -> SeenFile | None:
        """Return the file at *url* if `otelmon collect` has run since all files were looked at."""
        # One thread looks; the others go on with what there was.
        if self._stamp() != self._seen_stamp and self._turn.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._turn.release()
        return self.files.get(url)

    def _look(self) -> None:
        """Look at all files, the list of hashed names first: it is written last."""
        self._seen_stamp = self._stamp()
        listed = manifest.read(Path(self.root))
        self._hashed = frozenset() if listed is None else listed.hashed
        self._tree = Tree(self.root)
        found = {each.name: each for each in self._tree.files()}
        if listed is not None:
            # What other files there are, and were, is nobody's business.
            found.pop(listed.name, None)
        if not found:
            log.warning("Static has no file to serve: there is none in %s.", self.root)
        self.files = {
            self.prefix + name: self._file(each, found)
            for name, each in found.items()
            if not self._is_variant(name, found)
        }

    def _stamp(self) -> tuple[int, ...] | None:
        for name in (manifest.NAME, manifest.DJANGO):
            try:
                return identity(os.stat(os.path.join(self.root, name)))  # noqa: PTH116, PTH118 - half the cost
            except OSError:
                continue
        return None

    @staticmethod
    def _is_variant(name: str, found: Mapping[str, Found]) -> bool:
        return name.endswith(tuple(_ENCODINGS.values())) and name[:-3] in found

    def _file(self, found: Found, others: Mapping[str, Found]) -> SeenFile:
        variants: dict[str | None, Found] = {None: found}
        for encoding, end in _ENCODINGS.items():
            variant = others.get(found.name + end)
            if variant is not None:
                variants[encoding] = variant
        headers = Headers([NOSNIFF, ("Accept-Ranges", "bytes")])
        url = self.prefix + found.name
        self.add_mime_headers(headers, found.name, url)
        self.add_cache_headers(headers, found.name, url)
        return SeenFile(self._tree, headers.items(), variants)

    def immutable_file_test(self, path: str, url: str) -> bool:  # noqa: ARG002 - WhiteNoise's
        """Tell whether the name at *url* never stands for another content."""
        name = url[len(self.prefix) :]
        if self._pattern is not None and self._pattern.search(name):
            return self.FOREVER > 0
        return name in self._hashed and self.FOREVER > 0
