"""Amounts as sentences have them."""

from __future__ import annotations


def percent(value: float) -> str:
    """Return 75.2 as `75.2%`."""
    return f"{value:.1f}%"


def share(value: float) -> str:
    """Return 0.34 as `34%`."""
    return f"{100 * value:.0f}%"


def count(value: float) -> str:
    """Return 1280 as `1,280`."""
    return f"{value:,.0f}"


def size(bytes_: float) -> str:
    """Return bytes as MB, from a thousand of these on as GB."""
    megabytes = bytes_ / 1e6
    return f"{megabytes / 1e3:.1f} GB" if megabytes >= 1e3 else f"{megabytes:.0f} MB"


def duration(ms: float) -> str:
    """Return milliseconds as `240 ms` or `2.4 s`."""
    return f"{ms / 1e3:.1f} s" if ms >= 1e3 else f"{ms:.0f} ms"


def plural(number: int, word: str) -> str:
    """Return `1 worker`, `2 workers`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
