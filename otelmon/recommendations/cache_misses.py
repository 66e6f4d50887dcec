"""The cache is missed often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelmon.recommendations.amounts import percent
from otelmon.recommendations.verdict import (
    PASS,
    Action,
    Finding,
    Impact,
    Verdict,
    insufficient,
    not_applicable,
    recommend,
)


if TYPE_CHECKING:
    from otelmon.recommendations.evidence import Evidence


_LOOK_UPS: Final = 100


def judge(evidence: Evidence) -> Verdict:
    """Compare hits by look-ups of 15 minutes with ALERT_CACHE_HIT_RATE_THRESHOLD."""
    limit = evidence.settings.alert_levels()["cache"].warning
    hits, misses = evidence.counts.get("cache_hits", 0), evidence.counts.get("cache_misses", 0)
    look_ups = hits + misses
    if limit is None or not look_ups:
        return not_applicable("No cache is observed, or ALERT_CACHE_HIT_RATE_THRESHOLD is off.")
    if look_ups < _LOOK_UPS:
        return insufficient(f"{look_ups:.0f} look-ups were counted; {_LOOK_UPS} are needed.")
    rate = hits / look_ups
    if rate >= limit:
        return PASS
    present = evidence.settings.query_cache_ttl
    return recommend(
        Finding(
            message=f"Low cache hit rate ({percent(100 * rate)}). Consider: increasing cache TTL, "
            "warming cache, or expanding cache coverage.",
            evidence={
                "cache_hit_rate": round(rate, 3),
                "hits": hits,
                "misses": misses,
                "threshold": limit,
                "window_seconds": 900,
            },
            impact=Impact("misses", misses, "misses of the last 15 minutes"),
            actions=(
                Action("Keep results longer.", "QUERY_CACHE_TTL", present, 2 * present),
                Action("Warm the cache after a start, and cache more."),
            ),
        )
    )
