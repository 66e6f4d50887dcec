"""Mappings and lists as YAML in blocks. Scalars are JSON's, which YAML reads as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Tree = Mapping[str, "Tree"] | Sequence["Tree"] | str | int | float | bool


def text(tree: Mapping[str, Tree], *, about: Sequence[str] = ()) -> str:
    """Return the document, behind comment lines that say what it is *about*."""
    lines = [*(f"# {line}".rstrip() for line in about), *_lines(tree, "")]
    return "\n".join(lines) + "\n"


def _lines(tree: Tree, indent: str) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _entry(f"{indent}{key}:", value, indent)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _item(value, indent)


def _entry(head: str, value: Tree, indent: str) -> Iterator[str]:
    if isinstance(value, (dict, list, tuple)):
        yield head
        yield from _lines(value, f"{indent}  ")
    elif isinstance(value, str) and "\n" in value:
        yield f"{head} |-"
        yield from (f"{indent}  {line}" for line in value.splitlines())
    else:
        yield f"{head} {json.dumps(value, ensure_ascii=False)}"


def _item(value: Tree, indent: str) -> Iterator[str]:
    if isinstance(value, dict):
        first, *rest = _lines(value, f"{indent}  ")
        yield f"{indent}- {first.lstrip()}"
        yield from rest
    else:
        yield f"{indent}- {json.dumps(value, ensure_ascii=False)}"
