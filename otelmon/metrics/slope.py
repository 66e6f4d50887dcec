"""The slope of a noisy line, which a few points that lie far off do not move."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_MOST: Final = 61


def theil_sen(line: Sequence[tuple[float, float]]) -> float | None:
    """Return the median of the slopes between all pairs of points; None without two of them.

    Of more than 61 points some are passed over, evenly: pairs grow with the square. Points that lie
    far off, up to 29 % of all, do not move it: P. K. Sen, Estimates of the regression coefficient based
    on Kendall's tau, J. Am. Stat. Assoc. 63 (1968).
    """
    step = max(1, math.ceil(len(line) / _MOST))
    # The newest always counts.
    points = line[::-1][::step]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2]
    return middle(slopes)


def middle(values: Iterable[float]) -> float | None:
    """Return the median, None of nothing; the module statistics would import decimal numbers."""
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2 == 1:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2 if ordered else None
