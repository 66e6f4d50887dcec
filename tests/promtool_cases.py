"""What each exported alert is tried with: series as promtool's unit tests write them.

A state is what a minute's samples are, and how many rules are to fire then by severity.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.metrics.prometheus import Names


MINUTES: Final = 20
HOURS: Final = 90
"""Minutes, where a rule looks back for an hour"""
LONG: Final = 30 * 60
"""Minutes, where a rule looks back for days: what it sees of them is all alike"""


class State(NamedTuple):
    """Series by their names and samples, and how many rules fire."""

    series: dict[str, str]
    warning: int = 0
    critical: int = 0
    minutes: int = MINUTES
    every: str = "1m"
    """How often the rules are judged: seldom where they look back for long"""


def _on(name: str, **labels: str) -> str:
    more = "".join(f',{key}="{value}"' for key, value in labels.items())
    return f'{name}{{job="shop",instance="a:9090"{more}}}'


def _gauge(name: str, value: float, **labels: str) -> dict[str, str]:
    return {_on(name, **labels): f"{value:g}x{MINUTES}"}


def _requests(rate: float, errors: float, *, minutes: int = MINUTES) -> dict[str, str]:
    """Return so many requests and errors a minute."""
    return {
        _on("app_requests_total", status="200"): f"0+{rate - errors:g}x{minutes}",
        _on("app_requests_total", status="500"): f"0+{errors:g}x{minutes}",
        _on("app_errors_total", type="http_500"): f"0+{errors:g}x{minutes}",
    }


def _quiet(errors: int, *, at: int) -> dict[str, str]:
    """Return 24 requests an hour, of which so many fail at one minute."""
    failed = f"0x{at - 1} {errors}x{HOURS - at}"
    return {
        _on("app_requests_total", status="200"): f"0+0.4x{HOURS}",
        _on("app_requests_total", status="500"): failed,
        _on("app_errors_total", type="http_500"): failed,
    }


def _timed(ms: float, rate: float) -> dict[str, str]:
    return {
        _on("app_requests_total", status="200"): f"0+{rate:g}x{MINUTES}",
        _on("app_request_duration_seconds_sum"): f"0+{rate * ms / 1e3:g}x{MINUTES}",
    }


def _cache(hits: float, misses: float) -> dict[str, str]:
    return {
        _on("app_cache_hits_total"): f"0+{hits:g}x{MINUTES}",
        _on("app_cache_misses_total"): f"0+{misses:g}x{MINUTES}",
    }


def _pool(used: float) -> dict[str, str]:
    name = "db_client_connection"
    pool = {f"{name}_pool_name": "main"}
    return {
        **_gauge(f"{name}_count", used, **pool, **{f"{name}_state": "used"}),
        **_gauge(f"{name}_count", 100 - used, **pool, **{f"{name}_state": "idle"}),
        **_gauge(f"{name}_max", 100, **pool),
    }


def _workers(busy: float) -> dict[str, str]:
    return {
        **_gauge("otelmon_workers", busy, state="busy"),
        **_gauge("otelmon_workers", 10 - busy, state="idle"),
    }


def _disk(hours: float) -> dict[str, str]:
    """Return a disk that is full so many hours after the end."""
    slope = 1e6
    start = (hours * 60 + HOURS) * slope
    return {_on("system_disk_free_bytes"): f"{start:g}-{slope:g}x{HOURS}"}


def _growing(*growths: float, ages: float = HOURS, size: float = 1e8) -> dict[str, str]:
    """Return workers that grow by so many MB an hour from *size*, and are so many minutes old at the end."""
    found = {}
    for worker, growth in enumerate(growths):
        name = _on("process_resident_memory_bytes", worker=str(worker))
        found[name] = f"{size:g}+{growth * 1e6 / 60:g}x{HOURS}"
        started = 60 * (HOURS - ages)
        found[_on("process_start_time_seconds", worker=str(worker))] = f"{started:g}x{HOURS}"
    return found


STATES: Final = {
    "OtelmonHighCpu": [
        State(_gauge("system_cpu_usage_percent", 80)),
        State(_gauge("system_cpu_usage_percent", 81), 1),
        State(_gauge("system_cpu_usage_percent", 96), 1, 1),
    ],
    "OtelmonHighMemory": [
        State(_gauge("system_memory_usage_percent", 85)),
        State(_gauge("system_memory_usage_percent", 86), 1),
        State(_gauge("system_memory_usage_percent", 97), 1, 1),
    ],
    "OtelmonDiskFull": [
        State(_gauge("system_disk_usage_percent", 90)),
        State(_gauge("system_disk_usage_percent", 91), 1),
        State(_gauge("system_disk_usage_percent", 98), 1, 1),
    ],
    "OtelmonHighErrorRate": [
        State(_requests(100, 4)),
        State(_requests(100, 6), 1),
        State(_requests(100, 11), 1, 1),
        # Three requests a minute, all of which fail, are below the floor; burn rates see them.
        State(_requests(3, 3)),
        # Twelve per cent, but of so few that it is two errors.
        State(_requests(4, 0.4)),
    ],
    "OtelmonSlowResponses": [
        State(_timed(900, 60)),
        State(_timed(1100, 60), 1),
        State(_timed(2100, 60), 1, 1),
        State(_timed(9000, 1)),
    ],
    "OtelmonLowCacheHitRate": [
        State(_cache(75, 25)),
        State(_cache(65, 35), 1),
        State(_cache(35, 65), 1, 1),
        State(_cache(0, 60), 1, 1),
        State(_cache(60, 0)),
        State(_cache(0, 9)),
    ],
    "OtelmonPoolExhausted": [State(_pool(90)), State(_pool(91), 1), State(_pool(98), 1, 1)],
    "OtelmonWorkersSaturated": [
        State(_workers(8)),
        State(_workers(9), 1),
        State(_workers(10), 1, 1),
    ],
    "OtelmonDiskFullSoon": [
        State(_disk(9), minutes=HOURS, every="5m"),
        State(_disk(7), 1, minutes=HOURS, every="5m"),
        State(_disk(1), 1, 1, minutes=HOURS, every="5m"),
        # It is being emptied.
        State({_on("system_disk_free_bytes"): f"1e9+1e6x{HOURS}"}, minutes=HOURS, every="5m"),
    ],
    "OtelmonWorkerMemoryGrowth": [
        State(_growing(49, 49, 49, 49), minutes=HOURS, every="5m"),
        State(_growing(0, 60, 0, 60), 1, minutes=HOURS, every="5m"),
        State(_growing(0, 60, 0, 0), minutes=HOURS, every="5m"),
        State(_growing(210, 210, 0), 1, 1, minutes=HOURS, every="5m"),
        # It is 1.5 % an hour.
        State(_growing(60, 60, size=4e9), minutes=HOURS, every="5m"),
        # They are young.
        State(_growing(210, 210, ages=29), minutes=HOURS, every="5m"),
    ],
    "OtelmonCollectorStale": [
        State(_gauge("otelmon_keeper_age_seconds", 35)),
        State(_gauge("otelmon_keeper_age_seconds", 36), 1),
        State(_gauge("otelmon_keeper_age_seconds", 106), 1, 1),
    ],
    "OtelmonCheckDown": [
        State(_gauge("otelmon_check_up", 1, check="db", critical="true")),
        State(_gauge("otelmon_check_up", 0, check="cache", critical="false"), 1),
        State(_gauge("otelmon_check_up", 0, check="db", critical="true"), 0, 1),
    ],
    "OtelmonTargetDown": [State(_gauge("up", 1)), State(_gauge("up", 0), 0, 1)],
    "OtelmonErrorBudgetBurn": [
        # Of 99.9 %: a twentieth of the budget, and all of it fifty times over.
        State(_requests(100, 0.005, minutes=LONG), minutes=LONG, every="20m"),
        State(_requests(100, 5, minutes=LONG), 2, 2, minutes=LONG, every="20m"),
        State(_requests(100, 0.4, minutes=LONG), 2, 0, minutes=LONG, every="20m"),
        # What the rate of five minutes is too coarse for.
        State(_requests(3, 3, minutes=100), 1, 2, minutes=100, every="20m"),
        # One error is no reason to wake anybody, however few requests there are; three are.
        State(_quiet(1, at=86), minutes=HOURS),
        State(_quiet(2, at=66), minutes=HOURS),
        State(_quiet(3, at=86), 0, 1, minutes=HOURS),
    ],
}


# The other names of the same; what is none of them is called alike in all vocabularies.
_SEMCONV: Final = {
    "app_requests_total": "http_server_request_duration_seconds_count",
    'status="500"': 'error_type="500"',
    "app_request_duration_seconds": "http_server_request_duration_seconds",
    "app_cache_hits_total{": 'otelmon_cache_operations_total{otelmon_cache_result="hit",',
    "app_cache_misses_total{": 'otelmon_cache_operations_total{otelmon_cache_result="miss",',
}


def series(expression: str) -> set[str]:
    """Return the names of the series that an expression asks for."""
    for aside in (r'"[^"]*"', r"\{[^}]*\}", r"\[[^]]*\]", r"\b(?:by|on) \([^)]*\)"):
        expression = re.sub(aside, "", expression)
    return set(re.findall(r"\b[a-z]\w*\b(?! ?\()", expression)) - {"and", "sum", "count"}


def write(directory: Path, rules: Path, *, names: Names = "seed") -> list[Path]:
    """Write the unit tests of a file of *rules*; return the files of tests.

    There is one for each time between two judgements. By other names than the seed's only those
    are played that have other names.
    """
    states = {
        name: [each._replace(series=_named(each.series, names)) for each in found]
        for name, found in STATES.items()
        if names == "seed" or any(_in_semconv(each.series) != each.series for each in found)
    }
    return [
        _written(directory / f"{every}.yml", rules, _judged(states, every), every=every)
        for every in dict.fromkeys(each.every for found in states.values() for each in found)
    ]


def _judged(states: dict[str, list[State]], every: str) -> dict[str, list[State]]:
    return {name: [each for each in found if each.every == every] for name, found in states.items()}


def _named(series: dict[str, str], names: Names) -> dict[str, str]:
    """Return the series as that vocabulary has them."""
    found = series if names != "semconv" else {}
    return found if names == "seed" else {**found, **_in_semconv(series)}


def _in_semconv(series: dict[str, str]) -> dict[str, str]:
    """Return them by their other names: an error is an attribute there, and what never was has no series."""
    found = {}
    for key, samples in series.items():
        if not key.startswith("app_errors") and not samples.startswith("0+0x"):
            for name, other in _SEMCONV.items():
                key = key.replace(name, other)  # noqa: PLW2901 - step by step
            found[key] = samples
    return found


def _written(path: Path, rules: Path, states: dict[str, list[State]], *, every: str) -> Path:
    tests = [_test(name, state) for name, found in states.items() for state in found]
    # JSON is YAML as well.
    path.write_text(
        json.dumps({"rule_files": [str(rules)], "evaluation_interval": every, "tests": tests})
    )
    return path


def _test(name: str, state: State) -> dict[str, Any]:
    fires = {"warning": state.warning, "critical": state.critical}
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": text} for key, text in state.series.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (severity) (ALERTS{{alertname="{name}",alertstate="firing"}})',
                "eval_time": f"{state.minutes}m",
                "exp_samples": [
                    {"labels": f'{{severity="{severity}"}}', "value": count}
                    for severity, count in fires.items()
                    if count
                ],
            }
        ],
    }
