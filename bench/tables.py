"""Tables of Markdown, ready to be pasted into a document."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def show(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; its first column is text, all others are numbers."""
    print(f"\n{title}\n")
    for cells in (head, ["---", *["--:"] * (len(head) - 1)], *rows):
        print(f"| {' | '.join(cells)} |", flush=True)


def size(count: float) -> str:
    """Return a number of bytes as MB."""
    return f"{count / 1e6:.1f} MB"
