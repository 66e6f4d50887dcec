"""The variables of `Settings`: each field tells its variable, default, rule and meaning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from otelmon.settings.resource import UNNAMED, attribute
from otelmon.settings.rules import (
    DIRECTORY,
    FRACTION,
    PERCENT,
    PORT,
    REGEXES,
    SECRET,
    STANDARD_SWITCH,
    SWITCH,
    TEXT,
    TOKEN,
    Rule,
    choice,
    each,
    matching,
    number,
    url,
    whole,
)
from otelmon.settings.text import shown_scheme
from otelmon.settings.thresholds import Thresholds
from otelmon.settings.variables import variable


ENDPOINTS: Final = (
    "/health",
    "/livez",
    "/readyz",
    "/api/metrics",
    "/api/metrics/health",
    "/api/metrics/recommendations",
    "/api/metrics/history",
    "/api/metrics/alerts",
    "/metrics",
)

LIBRARIES: Final = ("caches", "redis")
"""What is observed unasked, if it is imported"""

_TMP = "/tmp"  # noqa: S108 - the system's own default

_SECONDS = number("seconds", 0)
_MILLISECONDS = whole("milliseconds", 1, 86_400_000)
# The ledger has lanes for some fifteen thousand histograms of 15 buckets.
_LIMIT = whole("series", 1, 100_000)
_PATHS = each(matching(r"(?s)/.*", "a path"), "paths that begin with /, separated by commas")
# The exporter judges it: over gRPC it takes an address without a scheme, against the standard.
_COLLECTOR = replace(TEXT, show=shown_scheme)
# The fastest burn that Prometheus is to tell of is 14.4 times what the objective allows: with a lower
# one that would be more errors than requests.
_OBJECTIVE = Rule(
    "a percentage above 93.06 and below 100",
    float,
    lambda value: PERCENT.holds(value) and 93.06 < value < 100,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared(Thresholds):
    """All that has a field."""

    monitoring_interval: float = variable(
        "MONITORING_INTERVAL", 10.0, number("seconds", 1, 60), "Seconds between two collections."
    )
    enable_prometheus: bool = variable(
        "ENABLE_PROMETHEUS", False, SWITCH, "Serve the Prometheus text."
    )
    prometheus_port: int = variable(
        "PROMETHEUS_PORT", 9090, PORT, "Port of the keeper; 0 takes any free one."
    )
    prometheus_host: str = variable(
        "PROMETHEUS_HOST",
        "127.0.0.1",
        matching(r"[A-Za-z0-9._:%-]+", "a host name or an IP address"),
        "Address the port is bound to.",
    )
    prometheus_names: Literal["seed", "semconv", "both"] = variable(
        "OTELMON_PROMETHEUS_NAMES",
        "seed",
        choice("seed", "semconv", "both"),
        "Names of the Prometheus text: otelmon's own, those of OpenTelemetry's conventions, or both.",
    )

    alert_for_seconds: float = variable(
        "ALERT_FOR_SECONDS", 30.0, _SECONDS, "Seconds past a threshold before an alert fires."
    )
    alert_resolve_seconds: float = variable(
        "ALERT_RESOLVE_SECONDS", 180.0, _SECONDS, "Seconds clear of it before the alert resolves."
    )
    alert_hysteresis: float = variable(
        "ALERT_HYSTERESIS", 0.10, FRACTION, "Part of a threshold between firing and clearing."
    )
    alert_no_data_seconds: float = variable(
        "ALERT_NO_DATA_SECONDS", 300.0, _SECONDS, "Seconds a firing alert outlives its data."
    )
    alert_webhook_url: str | None = variable(
        "ALERT_WEBHOOK_URL", None, url("http", "https"), "Where changes of alerts are posted."
    )
    alert_webhook_secret: str | None = variable(
        "ALERT_WEBHOOK_SECRET", None, SECRET, "Key of the posts' signature; unset: unsigned."
    )
    alertmanager_url: str | None = variable(
        "ALERTMANAGER_URL", None, url("http", "https"), "Alertmanager that is sent the alerts."
    )
    alert_runbook_url: str | None = variable(
        "ALERT_RUNBOOK_URL",
        None,
        url("http", "https"),
        "Where runbooks lie; each alert links to the page of its id there.",
    )
    slo_availability: float | None = variable(
        "OTELMON_SLO_AVAILABILITY", None, _OBJECTIVE, "Percent of requests that shall succeed."
    )

    health_check_interval: float = variable(
        "HEALTH_CHECK_INTERVAL",
        15.0,
        number("seconds", 0.1, 3600),
        "Seconds between two runs of the health checks.",
    )
    health_check_timeout: float = variable(
        "HEALTH_CHECK_TIMEOUT",
        2.0,
        number("seconds", 0.1, 60),
        "Seconds until a health check that has not come back is down.",
    )
    recommendations_silenced: tuple[str, ...] = variable(
        "RECOMMENDATIONS_SILENCED",
        (),
        each(matching(r"[A-Za-z0-9_-]+", "an id"), "ids like OTM-R010, separated by commas"),
        "Ids of recommendations that are not wanted.",
    )
    query_cache_ttl: float = variable(
        "QUERY_CACHE_TTL", 300.0, number("seconds", 1), "Seconds a cached query is kept."
    )

    prefix: str = variable(
        "OTELMON_PREFIX",
        "",
        matching(r"(/[A-Za-z0-9._~-]+)*", "a path that begins with / and does not end with it"),
        "What stands before the paths of all endpoints.",
    )
    endpoints_off: tuple[str, ...] = variable(
        "OTELMON_ENDPOINTS_OFF",
        (),
        each(choice(*ENDPOINTS), f"paths out of {' '.join(ENDPOINTS)}, separated by commas"),
        "Endpoints that are left to the app, named without the prefix.",
    )
    excluded_paths: tuple[str, ...] = variable(
        "OTELMON_EXCLUDED_PATHS", (), _PATHS, "Paths that are served, but not measured."
    )
    excluded_urls: tuple[str, ...] = variable(
        "OTEL_PYTHON_EXCLUDED_URLS",
        (),
        REGEXES,
        "What is searched for in a path: requests that have it are not measured.",
    )
    cardinality_limit: int = variable(
        "OTELMON_CARDINALITY_LIMIT", 2000, _LIMIT, "Series that one instrument may have."
    )
    cardinality_total: int = variable(
        "OTELMON_CARDINALITY_TOTAL",
        10_000,
        _LIMIT,
        "Series that all instruments may have; otelmon's own have as many beside.",
    )
    series_idle_seconds: float = variable(
        "OTELMON_SERIES_IDLE_SECONDS",
        3600.0,
        number("seconds", 1),
        "Seconds without a record before a series may make room for another.",
    )
    libraries_off: tuple[str, ...] = variable(
        "OTELMON_LIBRARIES_OFF",
        (),
        each(choice(*LIBRARIES), f"names out of {' '.join(LIBRARIES)}, separated by commas"),
        "Libraries that are not observed unasked.",
    )
    prometheus_multiproc_dir: str | None = variable(
        "PROMETHEUS_MULTIPROC_DIR", None, TEXT, "Where prometheus_client's own metrics lie."
    )
    disk_path: str | None = variable(
        "DISK_PATH", None, TEXT, "A path on the disk to watch; unset: the working directory."
    )
    token: str | None = variable(
        "OTELMON_TOKEN", None, TOKEN, "What a reader must send; unset: open to all."
    )
    instance: str | None = variable(
        "OTELMON_INSTANCE",
        None,
        matching(
            r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}", "1 to 64 of the characters A-Z a-z 0-9 . _ -"
        ),
        "Name of the instance; unset: told from the server's sockets.",
    )
    ledger_dir: str | None = variable(
        "OTELMON_DIR", None, DIRECTORY, "Where ledgers lie; unset: the first directory that serves."
    )
    runtime_dir: str | None = variable(
        "XDG_RUNTIME_DIR", None, DIRECTORY, "The user's directory for what ends with the session."
    )
    tmp_dir: str = variable("TMPDIR", _TMP, DIRECTORY, "The directory of temporary files.")

    disabled: bool = variable(
        "OTELMON_DISABLED",
        False,
        SWITCH,
        "Leave the application as it is: nothing is measured, nothing answered.",
    )
    sdk_disabled: bool = variable(
        "OTEL_SDK_DISABLED",
        False,
        STANDARD_SWITCH,
        "OpenTelemetry's own switch: what is made through its API records nothing.",
    )
    service_name: str = variable(
        f"OTEL_SERVICE_NAME {attribute('service.name')}", UNNAMED, TEXT, "Name of the service."
    )
    service_version: str = variable(
        attribute("service.version"), "1.0.0", TEXT, "Version of the app."
    )
    metrics_exporters: tuple[str, ...] = variable(
        "OTEL_METRICS_EXPORTER",
        (),
        each(TEXT, "names separated by commas"),
        "otlp among them pushes metrics over OTLP; others do not. Unset, an endpoint decides.",
    )
    otlp_endpoint: str | None = variable(
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        _COLLECTOR,
        "The collector's address, as it was given.",
    )
    otlp_protocol: Literal["http/protobuf", "grpc"] = variable(
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/protobuf",
        choice("http/protobuf", "grpc"),
        "How the collector is spoken to.",
    )
    metric_export_interval: int = variable(
        "OTEL_METRIC_EXPORT_INTERVAL", 60_000, _MILLISECONDS, "Milliseconds between two pushes."
    )
    metric_export_timeout: int = variable(
        "OTEL_METRIC_EXPORT_TIMEOUT", 30_000, _MILLISECONDS, "Milliseconds that a push may take."
    )
