"""Percentiles out of a histogram's buckets, as Prometheus' histogram_quantile has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Sequence


class Quantile(NamedTuple):
    """A value that is never outside the bucket in which it lies."""

    value: float | None
    """None where nothing was counted"""
    at_least: bool = False
    """It lies above the last bound, and *value* is that bound: all that is known of it"""


def quantile(bounds: Sequence[float], buckets: Sequence[int], share: float) -> Quantile:
    """Return the value below which this *share* (above 0, at the most 1) of all amounts lies.

    Amounts are taken to lie evenly within their bucket; the first begins at 0. *buckets* are one
    more than their upper *bounds*.
    """
    total = sum(buckets)
    if not total:
        return Quantile(None)
    # A float of a count beyond 2**53 may be above it, and so above all buckets.
    rank, before, lower = min(share * total, total), 0, 0.0
    for bound, count in zip(bounds, buckets, strict=False):
        if count and before + count >= rank:
            return Quantile(min(bound, lower + (bound - lower) * (rank - before) / count))
        before, lower = before + count, bound
    return Quantile(bounds[-1], at_least=True)
