"""Amounts as they are stored: whole ones exactly, others as floats."""

from __future__ import annotations

import operator
import sys
import time
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from otelmon.ledger.pen import Pen


# Whole amounts below this are added as such. Larger ones are added as floats, which hold every whole
# number up to 2**53: so no count of them can make the sum of all slots' lanes pass 2**64.
WHOLE: Final = 2**24
LARGEST: Final = sys.float_info.max


def number(amount: object) -> float:
    """Return *amount* as an int if it is whole by its type, else as a float.

    Raises TypeError, AttributeError or OverflowError for what is no number that can be stored.
    """
    try:
        return operator.index(amount)  # type: ignore[arg-type]
    except TypeError:
        # Not `float`, which would also read a text.
        return float(amount.__float__())  # type: ignore[attr-defined]


# Each tells whether the pen was laid down before: then nothing was stored. There is no call between
# the store and that look, so no other thread can come between them, see `Pen`.


def add(pen: Pen, lane: int, sums: int, amount: float) -> bool:
    """Add to what only grows."""
    if isinstance(amount, int) and amount < WHOLE:
        pen.counts[lane] += amount
    else:
        pen.sums[sums] += amount
    return pen.down


def say(pen: Pen, lane: int, amount: float) -> bool:
    """Say a process's own figure: a lane without any bit is one that nobody has stored to."""
    pen.values[lane] = amount or -0.0
    return pen.down


def shift(pen: Pen, lane: int, amount: float) -> bool:
    """Add to what goes up and down, and show that it is in use."""
    pen.values[lane] += amount
    pen.values[lane + 1] = 1.0
    return pen.down


def say_last(pen: Pen, sums: int, amount: float) -> bool:
    """Say the instance's figure: the latest to be said counts."""
    now = time.monotonic_ns()
    pen.sums[sums] = amount
    pen.sums[sums + 1] = now
    return pen.down
