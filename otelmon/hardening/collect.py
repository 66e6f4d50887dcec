"""`otelmon collect`: static files under names that hold the hash of what is in them."""

from __future__ import annotations

import hashlib
import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from whitenoise.compress import Compressor, brotli_installed

from otelmon.errors import OtelmonError
from otelmon.hardening import manifest
from otelmon.hardening.placed import Placed
from otelmon.hardening.references import refers, rewritten
from otelmon.hardening.tree import Tree


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


KEEP: Final = 3
"""Runs before the last one whose files stay, for pages that were made then"""
_HASH: Final = 12  # hex digits of SHA-256, as Django has of MD5
_VARIANTS: Final = (".gz", ".br")


class Collected(NamedTuple):
    """What a run has done."""

    files: int
    written: int
    """Files that are new or other than before, under whatever name"""
    removed: int
    notes: tuple[str, ...]
    """What somebody should look at, a sentence each"""


def collect(
    sources: Sequence[Path], root: Path, *, prefix: str = "/static/", keep: int = KEEP
) -> Collected:
    """Copy all files of *sources* below *root*, each under its name and under one with its hash.

    Of two files of one name the first source's is taken. References in stylesheets and to source
    maps lead to the hashed names; *prefix* is where *root* is served. Files that get much smaller
    are there in gzip too, and in brotli if that is installed. The list is written last, so a server
    that runs never sees half a run; then the files go that only runs before the last *keep* had.
    Dotfiles, and links that lead out of their source, are left out. A second run changes nothing.

    Raises:
        OtelmonError: a source cannot be used, or something could not be read or written.
    """
    try:
        for source in sources:
            _judge(source, root)
        return _Run(sources, root, prefix).done(keep)
    except OSError as error:
        # A full disk names no file, and of two the first one is ours alone.
        name = error.filename2 or error.filename
        at = "" if name is None else f" at {str(name)!r}"
        raise OtelmonError(
            f"collect stopped{at}: {error.strerror}. The list in {root} is the one of the last "
            "whole run; put that right and run it again."
        ) from error


def _judge(source: Path, root: Path) -> None:
    if not source.is_dir():
        raise OtelmonError(f"{str(source)!r} is no directory: name one with static files.")
    inner, outer = source.resolve(), root.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise OtelmonError(
            f"The source {str(source)!r} and the root {str(root)!r} lie in one another: what is "
            "collected would be collected again. Name two places beside each other."
        )
    theirs = root / manifest.NAME
    listed = manifest.read(root)
    if theirs.exists() and (listed is None or listed.name != manifest.NAME):
        raise OtelmonError(
            f"{str(theirs)!r} is no list of an earlier run, and would be lost: remove it, or name "
            "another root."
        )
    if (source / manifest.NAME).exists():
        raise OtelmonError(
            f"{str(source / manifest.NAME)!r} has the name of the list that collect writes: put it "
            "into a directory, or call it manifest.webmanifest if it is a web application's."
        )


class _Run:
    """One run: what there is, under which name."""

    def __init__(self, sources: Sequence[Path], root: Path, prefix: str) -> None:
        self._prefix = prefix
        self._placed = Placed(root)
        self._notes: list[str] = []
        self._paths: dict[str, Path] = {}
        self._seen: dict[Path, tuple[int, ...]] = {}
        for source in sources:
            tree = Tree(str(source))
            for found in tree.files():
                path = self._paths.setdefault(found.name, Path(tree.root, found.real))
                self._seen.setdefault(path, found.identity)
            if tree.unread:
                # As with a file: what is left out without a word is missed when it is asked for.
                raise OtelmonError(
                    f"{str(Path(tree.root, tree.unread[0]))!r} may not be read: give collect the "
                    "right to, or take it out of the source."
                )
        for name in [*self._paths]:
            if name.endswith(_VARIANTS) and name[:-3] in self._paths:
                # Its source may have moved on; they are made anew.
                del self._paths[name]
        self._hashed: dict[str, str | None] = {}
        self._changed: dict[str, bytes] = {}

    def done(self, keep: int) -> Collected:
        """Do it all."""
        files = {name: self._name(name) for name in sorted(self._paths)}
        listed = manifest.read(self._placed.root)
        for name, to in files.items():
            self._put(to, self._changed.get(name, self._paths[name]), self._paths[name])
        for name, path in self._paths.items():
            self._put(name, path, path)
        before = _before(listed, files)
        self._placed.put(manifest.NAME, manifest.dumped(files, before[:keep]))
        stay = {*_names(files), *(name for each in before[:keep] for name in _names(each))}
        gone = {name for each in before[keep:] for name in _names(each)} - stay
        for name in sorted(gone):
            for end in ("", *_VARIANTS):
                self._placed.remove(name + end, counted=not end)
        return Collected(len(files), self._placed.written, self._placed.removed, tuple(self._notes))

    def _name(self, name: str) -> str:
        """Return the hashed name of a file, which holds those of the files that it refers to."""
        to = self._find(name)
        assert to is not None
        return to

    def _find(self, name: str) -> str | None:
        if name in self._hashed:
            # None while it is looked for: of two that refer to one another one keeps plain names.
            return self._hashed[name]
        self._hashed[name] = None
        path = self._paths[name]
        if refers(name):
            content = path.read_bytes()
            new = rewritten(
                name,
                content,
                prefix=self._prefix,
                hashed=lambda target: self._target(name, target),
            )
            if new != content:
                self._changed[name] = new
            digest = hashlib.sha256(new).hexdigest()
        else:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        stem, end = posixpath.splitext(name)
        self._hashed[name] = f"{stem}.{digest[:_HASH]}{end}"
        return self._hashed[name]

    def _target(self, name: str, target: str) -> str | None:
        if target in self._paths:
            return self._find(target)
        self._notes.append(f"{name} refers to {target}, which is in no source.")
        return None

    def _put(self, name: str, content: bytes | Path, source: Path) -> None:
        """Write a file with its variants; where it is another now, the old variants go first."""
        modified = source.stat().st_mtime_ns
        if self._placed.has(name, content):
            whole = {end: self._placed.exists(name + end) for end in _VARIANTS}
        else:
            for end in _VARIANTS:
                self._placed.remove(name + end, counted=False)
            # Else the hash in the name might be one of another content.
            self._placed.put(name, content, modified=modified, seen=self._seen[source])
            whole = {}
        for end, variant in _compressed(name, self._placed.root / name, whole):
            self._placed.put(name + end, variant, modified=modified)


def _compressed(name: str, path: Path, whole: Mapping[str, bool]) -> Iterator[tuple[str, bytes]]:
    """Return the variants of a file that are worth it and are not there yet."""
    compressor = Compressor(quiet=True)
    if any(whole.values()) or not compressor.should_compress(name):
        return
    data = path.read_bytes()
    makers = {".gz": compressor.compress_gzip}
    if brotli_installed:
        makers[".br"] = compressor.compress_brotli
    for end, make in makers.items():
        variant = make(data)
        if compressor.is_compressed_effectively(end, name, len(data), variant):
            yield end, variant


def _before(listed: manifest.Manifest | None, files: Mapping[str, str]) -> list[Mapping[str, str]]:
    """Return the lists of earlier runs, the last one first; a run that changed nothing is none."""
    if listed is None or listed.name != manifest.NAME:
        return []
    return [each for each in (listed.files, *listed.before) if each != files]


def _names(files: Mapping[str, str]) -> Iterator[str]:
    yield from files.keys()
    yield from files.values()


def default_root(root: Path | None, setting: str | None) -> Path:
    """Return where to collect to.

    Raises:
        OtelmonError: nobody says.
    """
    if root is None and setting is None:
        raise OtelmonError("There is no place to collect to: give --root, or set STATIC_ROOT.")
    return root or Path(os.fspath(setting or ""))
