"""What follows from the settings: alert levels, the service's name, OTLP, the paths kept out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.errors import ConfigError
from otelmon.settings import ALERTS, Levels, Settings
from otelmon.settings.variables import warn_once


@pytest.fixture(autouse=True)
def _nothing_warned_yet() -> None:
    warn_once.cache_clear()


def refusal(environ: dict[str, str]) -> str:
    """Return the one problem of an environment."""
    with pytest.raises(ConfigError) as caught:
        Settings.from_env(environ)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("alert", "warning", "critical"),
    [
        ("cpu", 80.0, 95.0),
        ("cpu", 0.0, 75.0),
        ("cpu", 100.0, None),
        ("memory", 85.0, 96.25),
        ("disk", 90.0, 97.5),
        ("error_rate", 5.0, 10.0),
        ("error_rate", 70.0, 92.5),
        ("error_rate", 0.0, None),
        ("response_time", 1000.0, 2000.0),
        ("response_time", 0.0, None),
        ("cache", 0.70, 0.40),
        ("cache", 0.90, 0.80),
        ("cache", 0.40, 0.20),
        ("cache", 1.0, None),
        ("cache", 0.0, None),
    ],
)
def test_a_critical_threshold_follows_from_the_warning(
    alert: str, warning: float, critical: float | None
) -> None:
    """Three quarters towards full, twice the errors, time or misses; none where none is worse."""
    variable = f"{ALERTS[alert].stem}_threshold".upper()
    levels = Settings.from_env({variable: str(warning)}).alert_levels()
    assert levels[alert] == Levels(warning, critical)
    others = {name: value for name, value in levels.items() if name != alert}
    assert others == {k: v for k, v in Settings().alert_levels().items() if k != alert}


@given(st.sampled_from(["cpu", "memory", "disk", "error_rate"]), st.floats(0, 100))
def test_a_derived_threshold_is_between_the_warning_and_full(alert: str, warning: float) -> None:
    """Whatever the warning, the derived critical threshold is worse and can be reached."""
    variable = f"{ALERTS[alert].stem}_threshold".upper()
    critical = Settings.from_env({variable: repr(warning)}).alert_levels()[alert].critical
    assert critical is None or warning < critical <= 100


def test_off_switches_off_a_rule_or_its_critical_level() -> None:
    """Off for the threshold ends the alert, off for the critical one leaves the warning."""
    settings = Settings.from_env(
        {
            "ALERT_CPU_THRESHOLD": "off    # noisy neighbours",
            "ALERT_CPU_CRITICAL_THRESHOLD": "50",
            "ALERT_DISK_CRITICAL_THRESHOLD": "Off",
            "ALERT_CACHE_HIT_RATE_CRITICAL_THRESHOLD": "0.5",
        }
    )
    levels = settings.alert_levels()
    assert levels["cpu"] == Levels(None, None)
    assert levels["disk"] == Levels(90.0, None)
    assert levels["cache"] == Levels(0.70, 0.5)


def test_a_critical_threshold_on_the_safe_side_is_refused() -> None:
    """Critical must not come before warning; which way is before depends on the rule."""
    high = refusal({"ALERT_ERROR_RATE_CRITICAL_THRESHOLD": "4"})
    low = refusal({"ALERT_CACHE_HIT_RATE_CRITICAL_THRESHOLD": "0.8"})
    last = refusal({"ALERT_CPU_THRESHOLD": "100", "ALERT_CPU_CRITICAL_THRESHOLD": "99"})
    assert high.endswith("(5.0): give at least 5.0, or unset it for 10.0.")
    assert low.endswith("(0.7): give at most 0.7, or unset it for 0.4.")
    assert last.endswith("(100.0): give at least 100.0, or set it to off.")


def test_the_service_is_named_as_opentelemetry_says() -> None:
    """OTEL_SERVICE_NAME goes before service.name; values are percent-decoded."""
    attributes = "service.name=my%20shop, service.version=2.1.0%2Bb1 ,team=a,  # of the team"
    settings = Settings.from_env({"OTEL_RESOURCE_ATTRIBUTES": attributes})
    assert (settings.service_name, settings.service_version) == ("my shop", "2.1.0+b1")
    both = Settings.from_env({"OTEL_RESOURCE_ATTRIBUTES": attributes, "OTEL_SERVICE_NAME": "web"})
    assert (both.service_name, both.service_version) == ("web", "2.1.0+b1")
    assert (Settings().service_name, Settings().service_version) == ("unknown_service", "1.0.0")


@pytest.mark.parametrize("attributes", ["service.name=a,hunter2", "=hunter2", "a=hunter2%ff"])
def test_resource_attributes_are_taken_whole_or_not_at_all(
    attributes: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One attribute that cannot be read discards all, with a warning that quotes none."""
    settings = Settings.from_env({"OTEL_RESOURCE_ATTRIBUTES": attributes})
    assert settings == Settings()
    (message,) = caplog.messages
    assert "OTEL_RESOURCE_ATTRIBUTES" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("environ", "exports"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/v1/metrics"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_METRICS_EXPORTER": "prometheus,otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_otlp_is_off_until_it_is_asked_for(environ: dict[str, str], exports: bool) -> None:
    """A metrics endpoint or the exporter's name switches OTLP on; none and the SDK's switch end it."""
    assert Settings.from_env(environ).exports_otlp is exports


def test_a_special_endpoint_goes_before_the_general_one() -> None:
    """The metrics' own variables go before those of all signals."""
    settings = Settings.from_env(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://all",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://metrics",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
        }
    )
    assert (settings.otlp_endpoint, settings.otlp_protocol) == ("http://metrics", "grpc")


@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("/static", True),
        ("/static/a.css", True),
        ("/statics", False),
        ("/a/static", False),
        ("/in/", True),
        ("/in/x", True),
        ("/in", False),
        ("/a.b", True),
        ("/axb", False),
        ("/CLIENT/7/info", True),
        ("/ping", True),
        ("/pings", False),
    ],
)
def test_excluded_paths_are_prefixes_and_regular_expressions(path: str, out: bool) -> None:
    """A path is kept out by a prefix that ends at a slash or by an expression found in it."""
    pattern = Settings.from_env(
        {
            "OTELMON_EXCLUDED_PATHS": "/static, /in/, /a.b",
            "OTEL_PYTHON_EXCLUDED_URLS": "(?i)client/.*/info,ping$",
        }
    ).excluded()
    assert pattern is not None
    assert (pattern.search(path) is not None) == out


def test_nothing_is_excluded_by_default() -> None:
    """Without either variable there is no pattern to search with."""
    assert Settings().excluded() is None
