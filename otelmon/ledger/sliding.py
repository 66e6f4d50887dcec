"""The sliding window counter: how often a client may, from two counts and no list of times.

A window begins with a client's first hit after it was idle, and the next ones follow without a gap.
Of the window before, that part counts which the last *period* still covers, as if its hits had been
spread evenly::

    floor(before * (period - age) / period) + hits + 1 <= limit

From idle exactly *limit* hits pass, however they come. Over any stretch of one period that begins
at the age `e * period` of a window with P hits, P(e) of them by then, what passes is at most
`P - P(e)` from there and `limit - floor(P * (1 - e))` from the next one, so at most
`limit + ceil(e * P) - P(e)`, and never more than twice the limit. To come near that, a client must
hold its hits back to the end of a window; who asks evenly gets the limit.

Pure functions of whole numbers. Times are ns of one monotonic clock; the formula is that of
Cloudflare's "How we built rate limiting capable of scaling to millions of domains" and of `limits`.
"""

from __future__ import annotations

from typing import NamedTuple


Window = tuple[int, int, int]
"""When it began, the hits in the window before it, and the hits in it"""


class Standing(NamedTuple):
    """How a client stands under one limit after it has asked."""

    admitted: bool
    remaining: int
    wait: int
    """ns until a hit passes again where none remains, else until the window ends"""


def is_over(start: int, period: int, now: int) -> bool:
    """Tell whether a window can be forgotten: neither it nor the next one covers *now*."""
    return now - start >= 2 * period


def rolled(window: Window, period: int, now: int) -> Window:
    """Return the window that covers *now*."""
    start, _, hits = window
    age = now - start
    if age < period:
        return window
    return (start + period, hits, 0) if age < 2 * period else (now, 0, 0)


def used(window: Window, period: int, now: int) -> int:
    """Return what counts of both windows, of which the second covers *now*."""
    start, before, hits = window
    if not before:
        return hits
    # A clock that seems to have gone back would make the part above one.
    return before * (period - max(0, now - start)) // period + hits


def standing(window: Window, limit: int, period: int, now: int, *, counted: bool) -> Standing:
    """Return how a client stands that has asked, in a window that covers *now*.

    *counted* tells whether its hit is in the window already; if not, it is asked here.
    """
    remaining = limit - used(window, period, now)
    age = max(0, now - window[0])
    if remaining > 0:
        return Standing(True, remaining, period - age)
    return Standing(counted, 0, _wait(window, limit, period, age))


def _wait(window: Window, limit: int, period: int, age: int) -> int:
    """Return how long it takes until one more hit passes."""
    _, before, hits = window
    if hits < limit:
        return max(0, _fading(before, limit - hits, period) - age)
    return max(0, period - age) + _fading(hits, limit, period)


def _fading(before: int, room: int, period: int) -> int:
    """Return the age at which less than *room* is left of the window before, which had as many."""
    # The least whole age with before * (period - age) / period < room.
    return period + (-room * period // before) + 1
