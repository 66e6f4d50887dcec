"""What requests are called in Prometheus, by the names that the settings choose."""

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
