"""Percentiles out of buckets: never further off than the bucket."""

from __future__ import annotations

import random
from bisect import bisect_left
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otelmon.ledger.requests import SECONDS
from otelmon.metrics.quantiles import Quantile, quantile


if TYPE_CHECKING:
    from collections.abc import Callable


def counted(samples: list[float]) -> list[int]:
    """Return the buckets of these samples."""
    buckets = [0] * (len(SECONDS) + 1)
    for sample in samples:
        buckets[bisect_left(SECONDS, sample)] += 1
    return buckets


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0])
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda r: r.lognormvariate(-2.5, 1.0), id="lognormal"),
        pytest.param(lambda r: r.expovariate(8), id="exponential"),
        pytest.param(lambda r: r.uniform(0, 12), id="uniform"),
        pytest.param(lambda r: r.choice((0.004, 0.3, 20.0)), id="three values"),
    ],
)
def test_it_lies_in_the_bucket_of_the_exact_one(
    draw: Callable[[random.Random], float], share: float
) -> None:
    """Of 10,000 samples the exact percentile and the histogram's are in the same bucket."""
    source = random.Random(7)
    samples = sorted(draw(source) for _ in range(10_000))
    exact = samples[round(share * len(samples)) - 1]
    found = quantile(SECONDS, counted(samples), share)

    assert found.value is not None
    if exact > SECONDS[-1]:
        assert found == Quantile(SECONDS[-1], at_least=True)
    else:
        bucket = bisect_left(SECONDS, exact)
        assert (0.0, *SECONDS)[bucket] <= found.value <= SECONDS[bucket]
        assert not found.at_least


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        pytest.param([10, 0, 0], 0.5, 0.5, id="half of the first bucket"),
        pytest.param([0, 10, 0], 0.5, 2.0, id="half of the second"),
        pytest.param([0, 10, 0], 1.0, 3.0, id="its end"),
        pytest.param([5, 5, 0], 0.5, 1.0, id="between two"),
        pytest.param([5, 0, 5], 0.5, 1.0, id="over an empty one"),
        pytest.param([2, 6, 0], 0.95, 1 + 2 * 5.6 / 6, id="a part of the second"),
    ],
)
def test_it_is_what_histogram_quantile_says(buckets: list[int], share: float, value: float) -> None:
    """Amounts lie evenly in their bucket, whose first begins at 0: Prometheus' own rule."""
    found = quantile((1.0, 3.0), buckets, share)

    assert found.value == pytest.approx(value)
    assert not found.at_least


def test_nothing_has_no_percentile() -> None:
    """Without a request it is null and no 0."""
    assert quantile(SECONDS, [0] * 15, 0.5) == (None, False)


@given(st.lists(st.integers(0, 2**62), min_size=15, max_size=15), st.floats(1e-6, 1.0))
@example([2**53 + 3, *[0] * 14], 1.0)
def test_it_never_leaves_its_bucket(buckets: list[int], share: float) -> None:
    """Whatever the counts, it lies in a bucket that has some, or is the last bound and says so."""
    found = quantile(SECONDS, buckets, share)
    if not any(buckets):
        assert found == (None, False)
    elif found.at_least:
        assert found.value == SECONDS[-1]
        assert buckets[-1]
    else:
        assert found.value is not None
        bounds = zip((0.0, *SECONDS), SECONDS, buckets, strict=False)
        assert any(low <= found.value <= high for low, high, count in bounds if count)


@given(st.lists(st.integers(0, 1000), min_size=15, max_size=15))
def test_a_higher_share_is_no_lower(buckets: list[int]) -> None:
    """p50 <= p95 <= p99."""
    found = [quantile(SECONDS, buckets, share).value for share in (0.5, 0.95, 0.99)]

    assert found == sorted(found, key=lambda value: value or 0.0)
