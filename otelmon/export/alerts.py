"""The alerts that have a series, as expressions of PromQL.

They judge what the process itself judges, by the same thresholds. Rates are of five minutes here,
because a scrape sees less than the process does; a floor of requests keeps one error of two from
waking anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.export.series import BY, look_ups, requests
from otelmon.settings import Levels


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from otelmon.settings import Settings


class Alert(NamedTuple):
    """One alert at one level."""

    id: str
    name: str
    severity: str
    expr: str
    summary: str
    """The same for every instance"""
    description: str
    for_: str = "5m"
    window: str | None = None
    """Tells alerts of one name and severity apart"""


ERRORS: Final = 3
"""So many must have failed"""
_REQUESTS: Final = 20
_TIMED: Final = 10
_LOOK_UPS: Final = 50
_POOL: Final = "db_client_connection"
# Whatever is not among the thresholds of the settings has these.
_USUAL: Final = {
    "pool_exhaustion": Levels(90.0, 97.5),
    "worker_saturation": Levels(80.0, 95.0),
    "disk_full_soon": Levels(8.0, 2.0),
}


def alerts(settings: Settings, *, job: str) -> list[Alert]:
    """Return all alerts that *settings* leave on, the warning of each before its critical one."""
    return [*_thresholds(settings, job), *_of_otelmon(settings, job)]


class _Figure(NamedTuple):
    id: str
    name: str
    expr: str
    """A threshold stands at its end, or where `{}` is"""
    summary: str
    description: str
    floor: str = ""
    for_: str = "5m"


def _figures(settings: Settings, job: str) -> tuple[_Figure, ...]:
    return (*_of_machine(), *_of_requests(settings), *_of_capacity(), _of_growth(job))


def _of_machine() -> tuple[_Figure, ...]:
    return (
        _Figure(
            "cpu",
            "OtelmonHighCpu",
            "system_cpu_usage_percent > {}",
            "CPU usage is high.",
            'CPU usage is {{ $value | printf "%.1f" }} %.',
        ),
        _Figure(
            "memory",
            "OtelmonHighMemory",
            "system_memory_usage_percent > {}",
            "Memory usage is high.",
            'Memory usage is {{ $value | printf "%.1f" }} %.',
        ),
        _Figure(
            "disk",
            "OtelmonDiskFull",
            "system_disk_usage_percent > {}",
            "The disk is nearly full.",
            'The disk is {{ $value | printf "%.1f" }} % full.',
        ),
        _Figure(
            "disk_full_soon",
            "OtelmonDiskFullSoon",
            "system_disk_free_bytes / -deriv(system_disk_free_bytes[1h]) / 3600 < {}",
            "The disk will be full soon.",
            'It is full in {{ $value | printf "%.1f" }} hours at the rate of the last hour.',
            "deriv(system_disk_free_bytes[1h]) < 0",
            for_="15m",
        ),
    )


def _of_requests(settings: Settings) -> tuple[_Figure, ...]:
    names = requests(settings)
    cache = look_ups(settings)
    return (
        _Figure(
            "error_rate",
            "OtelmonHighErrorRate",
            f"100 * {_rate(names.errors)} / {_rate(names.all)} > {{}}",
            "Many requests fail.",
            '{{ $value | printf "%.1f" }} % of the requests of the last 5 minutes failed.',
            f"{_more(names.all)} >= {_REQUESTS}\nand {_more(names.errors)} >= {ERRORS}",
        ),
        _Figure(
            "response_time",
            "OtelmonSlowResponses",
            f"1000 * {_rate(names.seconds)} / {_rate(names.all)} > {{}}",
            "Responses are slow.",
            'The mean response time of the last 5 minutes is {{ $value | printf "%.0f" }} ms.',
            f"{_more(names.all)} >= {_TIMED}",
        ),
        _Figure(
            "cache",
            "OtelmonLowCacheHitRate",
            # Of the misses: by some names there are no hits before the first one.
            f"1 - {_rate(cache.misses)} / {_all(_rate, cache.all)} < {{}}",
            "The cache is missed often.",
            "{{ $value | humanizePercentage }} of the look-ups of the last 5 minutes were hits.",
            f"{_all(_more, cache.all)} >= {_LOOK_UPS}",
        ),
    )


def _of_capacity() -> tuple[_Figure, ...]:
    return (
        _Figure(
            "pool_exhaustion",
            "OtelmonPoolExhausted",
            f'100 * sum by (job, instance, {_POOL}_pool_name) ({_POOL}_count{{{{{_POOL}_state="used"}}}}) '
            f"/ sum by (job, instance, {_POOL}_pool_name) ({_POOL}_max) > {{}}",
            "A pool of connections is nearly used up.",
            '{{ $value | printf "%.0f" }} % of the connections are in use.',
        ),
        _Figure(
            "worker_saturation",
            "OtelmonWorkersSaturated",
            f'100 * {BY} (avg_over_time(otelmon_workers{{{{state="busy"}}}}[5m])) '
            f"/ {BY} (avg_over_time(otelmon_workers[5m])) > {{}}",
            "Nearly all workers are busy.",
            '{{ $value | printf "%.0f" }} % of the workers were busy over the last 5 minutes.',
        ),
    )


def _of_growth(job: str) -> _Figure:
    """Return that of the workers' memory, as the process judges it; others have `process_*` too."""
    of_worker = f'{{job="{job}",worker!=""}}'
    resident = _ranged(f"process_resident_memory_bytes{of_worker}", "30m")
    old = _doubled(f"(time() - process_start_time_seconds{of_worker} >= 1800)")
    return _Figure(
        "worker_memory_growth",
        "OtelmonWorkerMemoryGrowth",
        "count by (job, instance) (\n"
        f"  deriv({resident}) * 3600 / 1e6 > {{}}\n"
        f"  and deriv({resident}) * 3600 > 0.02 * min_over_time({resident})\n"
        f"  and on (job, instance, worker) {old}\n"
        f") >= 0.5 * count by (job, instance) {old}",
        "The memory of workers grows.",
        '{{ $value | printf "%.0f" }} workers, half of the old ones or more, grow by more '
        "than {} MB an hour.",
        # After a start of Prometheus the half hour is made of few samples.
        for_="15m",
    )


def _rate(counter: str) -> str:
    return f"{BY} (rate({_ranged(counter)}))"


def _more(counter: str) -> str:
    return f"{BY} (increase({_ranged(counter)}))"


def _all(of: Callable[[str], str], counters: Iterable[str]) -> str:
    return f"({' + '.join(map(of, counters))})"


def _ranged(series: str, window: str = "5m") -> str:
    return _doubled(f"{series}[{window}]")


def _doubled(text: str) -> str:
    # A threshold is formatted in.
    return text.replace("{", "{{").replace("}", "}}")


def _thresholds(settings: Settings, job: str) -> Iterator[Alert]:
    levels = settings.alert_levels()
    for figure in _figures(settings, job):
        found = levels.get(figure.id, _USUAL.get(figure.id, Levels(None, None)))
        for severity, threshold in found._asdict().items():
            if threshold is not None:
                expr = figure.expr.format(f"{threshold:.10g}")
                floor = f"\nand {figure.floor.format()}" if figure.floor else ""
                yield Alert(
                    *(figure.id, figure.name, severity, expr + floor),
                    *(figure.summary, figure.description.replace("{}", f"{threshold:g}")),
                    figure.for_,
                )


def _of_otelmon(settings: Settings, job: str) -> Iterator[Alert]:
    late = 'Nothing was sampled for {{ $value | printf "%.0f" }} s.'
    for severity, intervals in (("warning", 3), ("critical", 10)):
        seconds = intervals * settings.monitoring_interval + 5
        yield Alert(
            *("collector", "OtelmonCollectorStale", severity),
            *(f"otelmon_keeper_age_seconds > {seconds:g}", "otelmon collects no figures.", late),
            for_="1m",
        )
    for severity, critical in (("warning", "false"), ("critical", "true")):
        yield Alert(
            *("check_down", "OtelmonCheckDown", severity),
            f'otelmon_check_up{{critical="{critical}"}} == 0',
            "A health check is down.",
            "The health check {{ $labels.check }} is down.",
            for_="1m",
        )
    yield Alert(
        *("target_down", "OtelmonTargetDown", "critical"),
        f'up{{job="{job}"}} == 0',
        "Nothing can be scraped.",
        "Prometheus gets no answer from {{ $labels.instance }}.",
    )
