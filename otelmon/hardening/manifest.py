"""Which static files have a hash in their names: the lists of `otelmon collect` and of Django."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


NAME: Final = "manifest.json"
"""Of the list that `otelmon collect` writes"""
DJANGO: Final = "staticfiles.json"
"""Of the list that Django's ManifestStaticFilesStorage writes"""
MARK: Final = "otelmon"
"""The member that tells our list from a web application's own of the same name"""


class Manifest(NamedTuple):
    """A list that was read."""

    name: str
    """Of its file"""
    files: Mapping[str, str]
    """Hashed names by plain ones, both as paths below the root"""
    before: tuple[Mapping[str, str], ...] = ()
    """The same of earlier runs, the last one first"""

    @property
    def hashed(self) -> frozenset[str]:
        """Return all names that never stand for another content."""
        maps = (self.files, *self.before)
        return frozenset(to for files in maps for plain, to in files.items() if plain != to)


def read(root: Path) -> Manifest | None:
    """Return the list of *root*, None where there is none that can be understood."""
    return _ours(_loaded(root / NAME)) or _djangos(_loaded(root / DJANGO))


def dumped(files: Mapping[str, str], before: Iterable[Mapping[str, str]]) -> bytes:
    """Return a list as it is written."""
    value = {MARK: 1, "files": files, "before": [*before]}
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _loaded(path: Path) -> Any:  # noqa: ANN401 - whatever it holds
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _ours(value: Any) -> Manifest | None:  # noqa: ANN401 - as above
    if not (isinstance(value, dict) and value.get(MARK) == 1 and _is_map(value.get("files"))):
        return None
    before = value.get("before")
    earlier = filter(_is_map, before) if isinstance(before, list) else ()
    return Manifest(NAME, value["files"], tuple(earlier))


def _djangos(value: Any) -> Manifest | None:  # noqa: ANN401 - as above
    if not (isinstance(value, dict) and _is_map(value.get("paths"))):
        return None
    return Manifest(DJANGO, value["paths"])


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(to, str) for to in value.values())
