"""Each variable: the texts that are read, what they become, and those that are refused."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from otelmon.errors import ConfigError
from otelmon.settings import ENDPOINTS, OFF, OWNED, Rate, Settings, variables
from otelmon.settings.variables import warn_once


if TYPE_CHECKING:
    from collections.abc import Mapping


# Variable, texts that are read and what they become, texts that are refused. Every variable of
# every group is here; test_every_variable_is_in_the_table sees to it.
ON = {"true": True, "TRUE": True, "1": True, "Yes": True, "on": True}
SWITCHES = ({**ON, "false": False, "0": False, "no": False, "Off": False}, ["2", "maybe", "tru"])
PERCENTS = (
    {"0": 0.0, "100": 100.0, "99.5": 99.5, "off": OFF, "OFF": OFF},
    ["-0.1", "100.1", "nan", "inf", "-inf", "80%", "1e999", "none"],
)
MILLISECONDS = ({"0": 0.0, "250.5": 250.5, "off": OFF}, ["-1", "nan", "inf", "1s", "86400001"])
HOURS = ({"0": 0.0, "8": 8.0, "off": OFF}, ["-1", "nan", "inf", "8h", "8761"])
GROWTHS = ({"0": 0.0, "50": 50.0, "off": OFF}, ["-1", "nan", "inf", "50MB", "1000001"])
FRACTIONS = ({"0": 0.0, "1": 1.0, "0.70": 0.7}, ["-0.1", "1.1", "70", "70%", "nan", "0,7"])
SHARES = ({**FRACTIONS[0], "off": OFF}, FRACTIONS[1])
SECONDS = ({"0": 0.0, "12.5": 12.5}, ["-1", "nan", "inf", "5m"])
INTERVALS = ({"1": 1, "86400000": 86_400_000}, ["0", "-1", "1.5", "soon", "86400001"])
HTTP = (
    {"https://h/a#b": "https://h/a#b", "http://[::1]:9093": "http://[::1]:9093"},
    ["h:9093", "ftp://h", "http://", "http:///x", "http://h:0", "http://h:99999", "http://a b"],
)
SECRETS = ({"pa#ss wörd": "pa#ss wörd", '"a #b"  # c': "a #b"}, ["a #b", '"a" "b" #c'])
COUNTS = ({"1": 1, "100000": 100_000}, ["0", "-1", "1.5", "100001", "many"])
PATHS = ({"/a": "/a", "/a b/c": "/a b/c"}, ["a", "./a", "~"])
TABLE: Mapping[str, tuple[Mapping[str, object], list[str]]] = {
    "MONITORING_INTERVAL": (
        {"1": 1.0, "60": 60.0, "2.5": 2.5},
        ["0", "0.9", "60.1", "nan", "inf", "10s", "-5"],
    ),
    "ENABLE_PROMETHEUS": SWITCHES,
    "OTELMON_CARDINALITY_LIMIT": COUNTS,
    "OTELMON_CARDINALITY_TOTAL": COUNTS,
    "OTELMON_SERIES_IDLE_SECONDS": ({"1": 1.0, "7200": 7200.0}, ["0", "0.5", "nan", "1h"]),
    "PROMETHEUS_MULTIPROC_DIR": ({"./a b": "./a b", "/a": "/a"}, []),
    "PROMETHEUS_PORT": (
        {"0": 0, "1": 1, "65535": 65535},
        ["-1", "65536", "9090.0", "http", "9" * 5000],
    ),
    "PROMETHEUS_HOST": ({"::1": "::1", "0.0.0.0": "0.0.0.0"}, ["a b", "http://h", "[::1]"]),
    "OTELMON_PROMETHEUS_NAMES": ({"SemConv": "semconv", "both": "both"}, ["all", "seed,both"]),
    "ALERT_CPU_THRESHOLD": PERCENTS,
    "ALERT_CPU_CRITICAL_THRESHOLD": ({"95": 95.0, "off": OFF}, PERCENTS[1]),
    "ALERT_MEMORY_THRESHOLD": PERCENTS,
    "ALERT_MEMORY_CRITICAL_THRESHOLD": ({"95": 95.0, "off": OFF}, PERCENTS[1]),
    "ALERT_DISK_THRESHOLD": PERCENTS,
    "ALERT_DISK_CRITICAL_THRESHOLD": ({"95": 95.0, "off": OFF}, PERCENTS[1]),
    "ALERT_ERROR_RATE_THRESHOLD": PERCENTS,
    "ALERT_ERROR_RATE_CRITICAL_THRESHOLD": ({"95": 95.0, "off": OFF}, PERCENTS[1]),
    "ALERT_RESPONSE_TIME_THRESHOLD": MILLISECONDS,
    "ALERT_RESPONSE_TIME_CRITICAL_THRESHOLD": ({"1000": 1000.0, "off": OFF}, MILLISECONDS[1]),
    "ALERT_CACHE_HIT_RATE_THRESHOLD": SHARES,
    "ALERT_CACHE_HIT_RATE_CRITICAL_THRESHOLD": ({"0.7": 0.7, "0": 0.0, "off": OFF}, SHARES[1]),
    "ALERT_POOL_THRESHOLD": PERCENTS,
    "ALERT_POOL_CRITICAL_THRESHOLD": ({"95": 95.0, "off": OFF}, PERCENTS[1]),
    "ALERT_SATURATION_THRESHOLD": PERCENTS,
    "ALERT_SATURATION_CRITICAL_THRESHOLD": ({"95": 95.0, "off": OFF}, PERCENTS[1]),
    "ALERT_DISK_FULL_HOURS_THRESHOLD": HOURS,
    "ALERT_DISK_FULL_HOURS_CRITICAL_THRESHOLD": ({"1": 1.0, "off": OFF}, HOURS[1]),
    "ALERT_MEMORY_GROWTH_THRESHOLD": GROWTHS,
    "ALERT_MEMORY_GROWTH_CRITICAL_THRESHOLD": ({"60": 60.0, "off": OFF}, GROWTHS[1]),
    "ALERT_RUNBOOK_URL": HTTP,
    "ALERT_FOR_SECONDS": SECONDS,
    "ALERT_RESOLVE_SECONDS": SECONDS,
    "ALERT_HYSTERESIS": FRACTIONS,
    "ALERT_NO_DATA_SECONDS": SECONDS,
    "ALERT_WEBHOOK_URL": HTTP,
    "ALERT_WEBHOOK_SECRET": SECRETS,
    "ALERTMANAGER_URL": HTTP,
    "OTELMON_SLO_AVAILABILITY": ({"99.9": 99.9, "93.1": 93.1}, ["100", "93.06", "0.999", "nan"]),
    "HEALTH_CHECK_INTERVAL": ({"0.1": 0.1, "3600": 3600.0}, ["0", "3601", "15s", "nan"]),
    "HEALTH_CHECK_TIMEOUT": ({"0.1": 0.1, "60": 60.0}, ["0", "61", "2s", "nan"]),
    "RECOMMENDATIONS_SILENCED": (
        {"OTM-R010": ("OTM-R010",), "OTM-R010, high-cpu,": ("OTM-R010", "high-cpu")},
        ["OTM R010", "a;b"],
    ),
    "QUERY_CACHE_TTL": ({"1": 1.0, "300": 300.0}, ["0", "-1", "5m", "inf"]),
    "OTELMON_PREFIX": (
        {"/ops": "/ops", "/a/b-c": "/a/b-c"},
        ["/", "ops", "/ops/", "//a", "/a b", "/ä"],
    ),
    "OTELMON_LIBRARIES_OFF": (
        {"redis": ("redis",), "caches,redis": ("caches", "redis")},
        ["Redis", "redis,nope", "sqlalchemy"],
    ),
    "OTELMON_ENDPOINTS_OFF": (
        {"/health": ("/health",), ",".join(ENDPOINTS): ENDPOINTS},
        ["health", "/HEALTH", "/health/", "/health,/nope"],
    ),
    "OTELMON_EXCLUDED_PATHS": ({"/a, /b/": ("/a", "/b/"), ",": ()}, ["a", "/a,b"]),
    "OTEL_PYTHON_EXCLUDED_URLS": ({"a.*b,^/c$": ("a.*b", "^/c$")}, ["(", "a,[", "a,(?i)b"]),
    "DISK_PATH": ({"/data # the volume": "/data", "data": "data"}, []),
    "OTELMON_TOKEN": ({"t0k#en": "t0k#en", '"t"': "t", "t": "t"}, ["a b", "a # b", "tökén"]),
    "OTELMON_INSTANCE": (
        {"web-1.A_b": "web-1.A_b", "a" * 64: "a" * 64},
        ["a/b", "a" * 65, ".", ".."],
    ),
    "OTELMON_DIR": PATHS,
    "XDG_RUNTIME_DIR": PATHS,
    "TMPDIR": PATHS,
    "OTELMON_DISABLED": ({"no": False}, SWITCHES[1]),
    "OTEL_SDK_DISABLED": ({"true": True, "True": True, "false": False}, ["1", "yes", "on"]),
    "OTEL_SERVICE_NAME": ({"shop # it": "shop"}, []),
    "OTEL_METRICS_EXPORTER": ({"otlp,console": ("otlp", "console")}, []),
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": ({"http://c:4318/x": "http://c:4318/x"}, []),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ({"http://c:4318": "http://c:4318", "c:4317": "c:4317"}, []),
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": ({"grpc": "grpc"}, ["http/json"]),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ({"http/protobuf": "http/protobuf"}, ["tcp"]),
    "OTEL_METRIC_EXPORT_INTERVAL": INTERVALS,
    "OTEL_METRIC_EXPORT_TIMEOUT": INTERVALS,
    "DATABASE_URL": (
        {"postgresql+psycopg://u:p@h/shop": "postgresql+psycopg://u:p@h/shop"},
        ["shop.db", "a b://c"],
    ),
    "DB_POOL_SIZE": ({"0": 0, "5": 5}, ["-1", "many", "1.5"]),
    "DB_MAX_OVERFLOW": ({"-1": -1, "5": 5}, ["-2", "many"]),
    "DB_POOL_TIMEOUT": SECONDS,
    "DB_POOL_RECYCLE": ({"-1": -1, "60": 60}, ["-2", "1h"]),
    "DB_POOL_PRE_PING": SWITCHES,
    "MAX_CONTENT_LENGTH": ({"0": 0, "1024": 1024, "off": OFF}, ["-1", "16MB", "1.5"]),
    "RATE_LIMIT": (
        {
            "10/second": Rate(10, 1),
            "5 per HOUR": Rate(5, 3600),
            "9/day": Rate(9, 86400),
            "off": OFF,
        },
        ["100", "0/minute", "-1/minute", "1/week", "100/minute;5/second"],
    ),
    "TRUSTED_PROXIES": ({"0": 0, "2": 2}, ["-1", "10.0.0.0/8", "*"]),
    "SESSION_LIFETIME": ({"1": 1.0, "86400": 86400.0}, ["0", "1d"]),
    "SESSION_SECRET": ({"new, old": ("new", "old"), "one": ("one",)}, ["a #b", "a, b # c"]),
    "STATIC_ROOT": ({"/srv/static": "/srv/static", "static": "static"}, []),
    "STATIC_PREFIX": ({"/": "/", "/s/": "/s/"}, ["s/", "/s", "https://cdn/"]),
    "STATIC_MAX_AGE": ({"0": 0, "60": 60}, ["-1", "1y"]),
    "REDIS_URL": (
        {"redis://:p@h:6379/0": "redis://:p@h:6379/0", "unix:///run/r": "unix:///run/r"},
        ["h:6379", "http://h", "redis://", "unix://", "redis://h:port"],
    ),
}
GOOD = [(name, text, value) for name, (good, _) in TABLE.items() for text, value in good.items()]
BAD = [(name, text) for name, (_, bad) in TABLE.items() for text in bad]
STANDARD = ("OTEL_", "XDG_", "TMPDIR")
HIDDEN = ("OTELMON_TOKEN", "ALERT_WEBHOOK_SECRET", "SESSION_SECRET")
ADDRESSES = (
    "ALERT_RUNBOOK_URL",
    "ALERT_WEBHOOK_URL",
    "ALERTMANAGER_URL",
    "DATABASE_URL",
    "REDIS_URL",
)


@pytest.fixture(autouse=True)
def _nothing_warned_yet() -> None:
    warn_once.cache_clear()


def owner(name: str) -> tuple[type[Any], str]:
    """Return the group and the field of a variable."""
    return next(
        (group, field)
        for group in (Settings, *OWNED)
        for field, declared in variables(group).items()
        if name in declared.names
    )


def read(name: str, text: str) -> object:
    """Return what becomes of one variable, asked of the part that uses it."""
    group, field = owner(name)
    part: object = Settings.from_env({name: text})
    if group is not Settings:
        part = getattr(part, group.__name__.lower())()
    return getattr(part, field)


def test_every_variable_is_in_the_table() -> None:
    """No variable goes without an example."""
    declared = {
        name
        for group in (Settings, *OWNED)
        for each in variables(group).values()
        for name in each.names
    }
    assert {name for name in declared if "[" not in name} == set(TABLE)


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_good_value_is_read(name: str, text: str, value: object) -> None:
    """A good text becomes its value, of its type."""
    found = read(name, text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [good for good in GOOD if good[0] not in HIDDEN and " #" not in good[1]],
)
def test_a_comment_behind_a_value_is_dropped(name: str, text: str, value: object) -> None:
    """A comment, space around a value and quotes around it are no part of the value."""
    assert read(name, f"  {text}\t # what it is for # and why") == value
    assert read(name, f"'{text}'  # quoted") == value
    assert read(name, f'"{text}"') == value


@pytest.mark.parametrize(("name", "text"), [bad for bad in BAD if not bad[0].startswith(STANDARD)])
def test_a_bad_value_is_refused(name: str, text: str) -> None:
    """A bad text is refused by one sentence with the variable, the rule and the way out."""
    with pytest.raises(ConfigError) as caught:
        read(name, text)
    (problem,) = caught.value.problems
    assert re.fullmatch(rf"{name} is .+: give .+, or unset it( for \S+)?\.", problem)
    assert len(problem) < 400


@pytest.mark.parametrize(
    ("name", "text"),
    [
        bad
        for bad in BAD
        if not bad[0].startswith(STANDARD)
        and bad[0] not in (*HIDDEN, *ADDRESSES)
        and "://" not in bad[1]
    ],
)
def test_a_refusal_names_the_value(name: str, text: str) -> None:
    """A bad text is quoted, from its beginning, where it can be no secret."""
    with pytest.raises(ConfigError, match=re.escape(f"{name} is {text!r}"[:60])):
        read(name, text)


@pytest.mark.parametrize(("name", "text"), [bad for bad in BAD if bad[0].startswith(STANDARD)])
def test_a_bad_value_of_a_standard_is_ignored(
    name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A variable that is not otelmon's own is warned about once and counts as unset."""
    default = getattr(Settings(), owner(name)[1])
    assert [read(name, text), read(name, text)] == [default, default]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("otelmon", logging.WARNING)
    assert name in record.getMessage()


@pytest.mark.parametrize(
    "text", ["", "   ", "   # what it is for", "# set me", "#", "''", '""  # c']
)
@pytest.mark.parametrize("name", TABLE)
def test_an_empty_value_counts_as_unset(name: str, text: str) -> None:
    """A variable that is empty, or only a comment, gives the default."""
    group, field = owner(name)
    assert read(name, text) == getattr(group(), field)
