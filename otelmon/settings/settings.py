"""The settings of the monitor, and the only reading of the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, Self

from otelmon.settings.owned import (
    OWNED,
    Bodies,
    Database,
    Demo,
    Limits,
    Redis,
    Sessions,
    Static,
    use,
)
from otelmon.settings.resource import UNNAMED, service_attributes
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
from otelmon.settings.variables import names, set_in, variable, variables, warn_of_unknown


if TYPE_CHECKING:
    from collections.abc import Mapping


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

_OWN_PREFIXES = ("OTELMON_", "ALERT_")
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
class Settings(Thresholds):
    """What `monitor` and all under it go by: checked, immutable, with defaults for everything.

    Every field tells its variable, default, rule and meaning. `Settings(monitoring_interval=5)`
    checks what it is given as `from_env` does; both raise ConfigError with all problems at once.
    """

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
        "OTELMON_PROMETHEUS_NAMES", "seed", choice("seed", "semconv", "both"), "Metric names."
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
        "ALERT_WEBHOOK_SECRET", None, SECRET, "Key of the posts' signature; None: unsigned."
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
        "HEALTH_CHECK_INTERVAL", 15.0, number("seconds", 0.1, 3600), "Seconds between two runs."
    )
    health_check_timeout: float = variable(
        "HEALTH_CHECK_TIMEOUT", 2.0, number("seconds", 0.1, 60), "Seconds until a check is down."
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
        "OTELMON_EXCLUDED_PATHS", (), _PATHS, "Served, but not measured."
    )
    excluded_urls: tuple[str, ...] = variable(
        "OTEL_PYTHON_EXCLUDED_URLS", (), REGEXES, "Searched for in the path: not measured."
    )
    cardinality_limit: int = variable(
        "OTELMON_CARDINALITY_LIMIT", 2000, _LIMIT, "Series that one instrument may have."
    )
    cardinality_total: int = variable(
        "OTELMON_CARDINALITY_TOTAL", 10_000, _LIMIT, "Series that all instruments may have."
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
        "DISK_PATH", None, TEXT, "A path on the disk to watch; None: the working directory."
    )
    token: str | None = variable(
        "OTELMON_TOKEN", None, TOKEN, "What a reader must send; None: open to all."
    )
    instance: str | None = variable(
        "OTELMON_INSTANCE",
        None,
        matching(
            r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}", "1 to 64 of the characters A-Z a-z 0-9 . _ -"
        ),
        "Name of the instance; None: told from the server's sockets.",
    )
    ledger_dir: str | None = variable(
        "OTELMON_DIR", None, DIRECTORY, "Where ledgers lie; None: the first that serves."
    )
    runtime_dir: str | None = variable(
        "XDG_RUNTIME_DIR", None, DIRECTORY, "The user's directory for what ends with the session."
    )
    tmp_dir: str = variable("TMPDIR", _TMP, DIRECTORY, "The directory of temporary files.")

    disabled: bool = variable("OTELMON_DISABLED", False, SWITCH, "Leave the app as it is.")
    sdk_disabled: bool = variable(
        "OTEL_SDK_DISABLED", False, STANDARD_SWITCH, "OpenTelemetry's own switch."
    )
    service_name: str = variable(
        "OTEL_SERVICE_NAME service.name", UNNAMED, TEXT, "Name of the service."
    )
    service_version: str = variable("service.version", "1.0.0", TEXT, "Version of the app.")
    metrics_exporters: tuple[str, ...] = variable(
        "OTEL_METRICS_EXPORTER", (), each(TEXT, "names separated by commas"), "See exports_otlp."
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
        "How it is spoken to.",
    )
    metric_export_interval: int = variable(
        "OTEL_METRIC_EXPORT_INTERVAL", 60_000, _MILLISECONDS, "Milliseconds."
    )
    metric_export_timeout: int = variable(
        "OTEL_METRIC_EXPORT_TIMEOUT", 30_000, _MILLISECONDS, "Milliseconds."
    )

    # The text of the variables that the application may own, by name, only those that are set.
    owned: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return the settings of *environ*, the process's own by default.

        Raises ConfigError with all problems. Where OTELMON_DISABLED is true nothing else is judged:
        it must work when the rest is broken.
        """
        if environ is None:
            environ = os.environ
        owned = {name: environ[name] for name in set_in(environ, names(*OWNED))}
        if _is_disabled(environ):
            return cls(disabled=True, owned=owned)
        warn_of_unknown(environ, _OWN_PREFIXES, names(Settings, *OWNED))
        return replace(cls.read({**environ, **service_attributes(environ)}), owned=owned)

    def excluded(self) -> re.Pattern[str] | None:
        """Return what to search a path for to learn that it is kept out; None where nothing is.

        `/static` of OTELMON_EXCLUDED_PATHS means that path and all below it, never `/statics`;
        `/static/` only what is below. The regular expressions go first and are joined as
        OpenTelemetry joins them, so that a flag like `(?i)` stays at the start.
        """
        begins = (
            rf"\A{re.escape(path)}" + ("" if path.endswith("/") else r"(?:/|\Z)")
            for path in self.excluded_paths
        )
        alternatives = [*self.excluded_urls, *begins]
        return re.compile("|".join(alternatives)) if alternatives else None

    @property
    def exports_otlp(self) -> bool:
        """Whether metrics are pushed: OTEL_METRICS_EXPORTER decides, if unset a known endpoint."""
        wanted = "otlp" in self.metrics_exporters if self.metrics_exporters else self.otlp_endpoint
        return bool(wanted) and not self.sdk_disabled

    def database(self) -> Database:
        """Return the DB_* settings; ConfigError if they cannot be used."""
        return use(Database, self.owned)

    def bodies(self) -> Bodies:
        """Return MAX_CONTENT_LENGTH; ConfigError as above."""
        return use(Bodies, self.owned)

    def limits(self) -> Limits:
        """Return RATE_LIMIT and TRUSTED_PROXIES; ConfigError as above."""
        return use(Limits, self.owned)

    def sessions(self) -> Sessions:
        """Return the SESSION_* settings; ConfigError as above."""
        return use(Sessions, self.owned)

    def static(self) -> Static:
        """Return the STATIC_* settings; ConfigError as above."""
        return use(Static, self.owned)

    def redis(self) -> Redis:
        """Return REDIS_URL; ConfigError as above."""
        return use(Redis, self.owned)

    def demo(self) -> Demo:
        """Return DATABASE_URL, as the demo reads it; ConfigError as above."""
        return use(Demo, self.owned)


def _is_disabled(environ: Mapping[str, str]) -> bool:
    try:
        return variables(Settings)["disabled"].value(environ.get("OTELMON_DISABLED", "")) is True
    except (ValueError, LookupError):
        return False  # unset, or refused together with all others
