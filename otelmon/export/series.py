"""What requests and look-ups in caches are called in Prometheus, by the names of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from otelmon.settings import Settings


BY: Final = "sum by (job, instance)"


class Requests(NamedTuple):
    """Selectors of counters, without their range."""

    all: str
    errors: str
    seconds: str
    """The sum of all durations"""


_SEED: Final = Requests(
    "app_requests_total", "app_errors_total", "app_request_duration_seconds_sum"
)
_SEMCONV: Final = Requests(
    "http_server_request_duration_seconds_count",
    'http_server_request_duration_seconds_count{error_type!=""}',
    "http_server_request_duration_seconds_sum",
)


def requests(settings: Settings) -> Requests:
    """Return them; of both vocabularies the shorter one."""
    return _SEMCONV if settings.prometheus_names == "semconv" else _SEED


class LookUps(NamedTuple):
    """Selectors of counters, without their range."""

    all: tuple[str, ...]
    """Those that come to all look-ups together"""
    misses: str


_SEED_LOOK_UPS: Final = LookUps(
    ("app_cache_hits_total", "app_cache_misses_total"), "app_cache_misses_total"
)
_SEMCONV_LOOK_UPS: Final = LookUps(
    ("otelmon_cache_operations_total",),
    'otelmon_cache_operations_total{otelmon_cache_result="miss"}',
)


def look_ups(settings: Settings) -> LookUps:
    """Return them; of both vocabularies the one that begins at 0."""
    return _SEMCONV_LOOK_UPS if settings.prometheus_names == "semconv" else _SEED_LOOK_UPS
