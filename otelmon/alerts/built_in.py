"""The rules that are there without any code: the settings' thresholds, and what they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otelmon.alerts import measures
from otelmon.alerts.rules import Rule


if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelmon.settings import Settings


# How many collections a mean needs at least; the window holds one more at any interval.
_COLLECTIONS: Final = 3
# What figures are late by; see metrics/figures.py.
_LATE_INTERVALS: Final = 3
_VERY_LATE_INTERVALS: Final = 10
_LATE_SECONDS: Final = 5.0


def built_in(settings: Settings) -> tuple[Rule, ...]:
    """Return the rules that *settings* leave on, each with its thresholds."""
    common = {
        "for_seconds": settings.alert_for_seconds,
        "resolve_seconds": settings.alert_resolve_seconds,
        "no_data_seconds": settings.alert_no_data_seconds,
        "hysteresis": settings.alert_hysteresis,
    }
    levels = settings.alert_levels()
    rules = [
        _rule(each, settings, {**common, **given, "warning": warning, "critical": critical})
        for each, given in _TABLE.items()
        for warning, critical in (levels[each],)
        if warning is not None
    ]
    return (*rules, _collector(settings))


IDS: Final = frozenset(
    (
        *("cpu", "memory", "disk", "error_rate", "response_time", "cache", "collector"),
        *("pool_exhaustion", "worker_saturation", "disk_full_soon", "worker_memory_growth"),
    )
)
"""The ids of all of them, also of those that are off"""


def _rule(id: str, settings: Settings, given: Mapping[str, Any]) -> Rule:  # noqa: A002 - a rule's
    base = settings.alert_runbook_url
    url = None if base is None else f"{base.rstrip('/')}/{id}"
    given = dict(given)
    if given.get("min_samples") == _COLLECTIONS:
        # At long intervals a minute does not hold three collections.
        least = (_COLLECTIONS + 1) * settings.monitoring_interval
        given["window_seconds"] = max(given["window_seconds"], least)
    return Rule(id=id, runbook_url=url, **given)


def _collector(settings: Settings) -> Rule:
    interval = settings.monitoring_interval
    return _rule(
        "collector",
        settings,
        {
            "warning": _LATE_INTERVALS * interval + _LATE_SECONDS,
            "critical": _VERY_LATE_INTERVALS * interval + _LATE_SECONDS,
            "alertname": "OtelmonCollectorStale",
            "metric": "otelmon.keeper.age_seconds",
            "value": measures.gap,
            "window_seconds": 0.0,
            "for_seconds": 0.0,
            "resolve_seconds": 0.0,
            "no_data_seconds": settings.alert_no_data_seconds,
            "hysteresis": 0.0,
            "unit": "s",
            "subject": "The time without figures",
            "summary": "otelmon collected no figures.",
            "description": (
                "No process of the instance has sampled and published figures for several "
                "intervals, so that nothing could be judged meanwhile. The machine or all workers "
                "were stopped, starved of CPU time, or stuck in code that holds the interpreter."
            ),
        },
    )


_TABLE: Final[Mapping[str, Mapping[str, Any]]] = {
    "cpu": {
        "alertname": "OtelmonHighCpu",
        "metric": "system.cpu_percent",
        "value": measures.cpu,
        "window_seconds": 60.0,
        "min_samples": _COLLECTIONS,
        "unit": "%",
        "subject": "CPU usage",
        "summary": "CPU usage is high.",
        "description": (
            "The CPUs of the container, or of the machine where it has no limit, were busy on "
            "average over the last minute."
        ),
    },
    "memory": {
        "alertname": "OtelmonHighMemory",
        "metric": "system.memory_percent",
        "value": measures.memory,
        "window_seconds": 0.0,
        "unit": "%",
        "subject": "Memory usage",
        "summary": "Memory usage is high.",
        "description": (
            "Little memory is left in the container, or on the machine where it has no limit."
        ),
    },
    "disk": {
        "alertname": "OtelmonDiskFull",
        "metric": "system.disk_percent",
        "value": measures.disk,
        "window_seconds": 0.0,
        # A disk does not flap, and whoever has cleaned it expects to see that.
        "margin": 2.0,
        "unit": "%",
        "subject": "Disk usage",
        "summary": "The disk is nearly full.",
        "description": (
            "Little space is left on the filesystem of the working directory, or of DISK_PATH."
        ),
    },
    "error_rate": {
        "alertname": "OtelmonHighErrorRate",
        "metric": "application.error_rate",
        "value": measures.error_rate,
        "min_bad": measures.LEAST_ERRORS,
        "unit": "%",
        "subject": "The error rate",
        "summary": "Many requests fail.",
        "description": (
            "Requests ended in a 5xx, an exception or a broken body. Judged over 60 s with 20 "
            "requests or more, else over 300 s, else over 900 s; three must have failed."
        ),
    },
    "response_time": {
        "alertname": "OtelmonSlowResponses",
        "metric": "application.avg_response_time",
        "value": measures.response_time,
        "min_samples": 10,
        "unit": "ms",
        "subject": "The mean response time",
        "summary": "Responses are slow.",
        "description": "The mean time of all requests of the last minute, ten at least.",
    },
    "cache": {
        "alertname": "OtelmonLowCacheHitRate",
        "metric": "application.cache_hit_rate",
        "value": measures.cache,
        "comparator": "<",
        "window_seconds": 300.0,
        "min_samples": 50,
        "best": 1.0,
        "unit": "fraction",
        "subject": "The cache hit rate",
        "summary": "The cache is missed often.",
        "description": "Hits by look-ups of the last five minutes, 50 look-ups at least.",
    },
    "pool_exhaustion": {
        "alertname": "OtelmonPoolExhausted",
        "metric": "db.client.connection.count",
        "value": measures.pool,
        "window_seconds": 0.0,
        "unit": "%",
        "subject": "The fullest connection pool",
        "summary": "A pool of connections is nearly used up.",
        "description": (
            "Connections in use by those a pool may have, of the fullest pool in any worker."
        ),
    },
    "worker_saturation": {
        "alertname": "OtelmonWorkersSaturated",
        "metric": "saturation.in_flight_share",
        "value": measures.saturation,
        "window_seconds": 300.0,
        "min_samples": _COLLECTIONS,
        "unit": "%",
        "subject": "The share of busy workers",
        "summary": "Nearly all workers are busy.",
        "description": (
            "Requests in flight by those that all workers can serve at once, on average over five "
            "minutes. Unknown where the server does not tell how many that are."
        ),
    },
    "disk_full_soon": {
        "alertname": "OtelmonDiskFullSoon",
        "metric": "system.disk_full_hours",
        "value": measures.disk_full_hours,
        "comparator": "<",
        "window_seconds": 0.0,
        # Below 8 h it fires, above 48 h it clears; below 2 h and above 12 h it is critical.
        "hysteresis": 5.0,
        "unit": "h",
        "subject": "The time until the disk is full",
        "summary": "The disk will be full soon.",
        "description": (
            "Free space by the growth of the last hour, which is the median of the slopes between "
            "all pairs of its points, so that one large file alone is no trend."
        ),
    },
    "worker_memory_growth": {
        "alertname": "OtelmonWorkerMemoryGrowth",
        "metric": "workers.memory_growth",
        "value": measures.worker_growth,
        "window_seconds": 0.0,
        "unit": "MB/h",
        "subject": "The growth of workers' memory",
        "summary": "The memory of workers grows.",
        "description": (
            "At least half of the workers that are half an hour old grow by so much, each by the "
            "median of the slopes between its samples, and by more than 2 % an hour."
        ),
    },
}
