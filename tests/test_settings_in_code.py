"""Settings given in code, beside what the environment says."""

from __future__ import annotations

import dataclasses
import logging
import pickle
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import (
    ConfigError,
    QueryCache,
    Settings,
    View,
    engine_options,
    harden,
    meter_provider,
    monitor,
    redis_client,
)
from otelmon.announcement import announce
from otelmon.hardening.rate_limit import RateLimit
from otelmon.hardening.sessions.middleware import Sessions
from otelmon.settings.variables import warn_once


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


TOKEN = "hunter2-0123456789"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have the process's environment say nothing but where ledgers lie."""
    warn_once.cache_clear()
    for variable in ("CPU", "MEMORY", "DISK", "DISK_FULL_HOURS", "SATURATION"):
        monkeypatch.delenv(f"ALERT_{variable}_THRESHOLD", raising=False)
    for variable in ("TMPDIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("OTELMON_DIR", str(tmp_path))


def hello(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Be an application."""
    start_response("200 OK", [])
    return [b"hello"]


def layers(app: Any) -> list[type]:  # noqa: ANN401 - middlewares of all kinds
    """Return the types of an application's middlewares, from the outside in."""
    return [type(app), *layers(app.app)] if hasattr(app, "app") else []


# -- from_env with some of them given -------------------------------------------------------------


def test_what_is_given_goes_before_and_the_rest_is_the_environments() -> None:
    """One field in code, another by its variable, a third by default."""
    environ = {"OTELMON_TOKEN": TOKEN, "MONITORING_INTERVAL": "3", "RATE_LIMIT": "5/minute"}
    settings = Settings.from_env(environ, monitoring_interval=5, enable_prometheus=True)
    assert (settings.token, settings.monitoring_interval) == (TOKEN, 5)
    assert (settings.enable_prometheus, settings.prometheus_port) == (True, 9090)
    assert settings.limits().rate_limit == (5, 60)
    owned = Settings.from_env(environ=environ, owned={"DB_POOL_SIZE": "3"})
    assert (owned.database().pool_size, owned.limits().rate_limit) == (3, (5, 60))


def test_variables_and_what_is_given_are_judged_together() -> None:
    """One error has the variable, the field, the pair that contradicts, and what is no setting."""
    with pytest.raises(ConfigError) as caught:
        Settings.from_env(
            {"PROMETHEUS_PORT": "http", "ALERT_CPU_THRESHOLD": "90", "HEALTH_CHECK_TIMEOUT": "x"},
            monitoring_interval=0,
            health_check_timeout=3,
            alert_cpu_critical_threshold=70,
            monitoring_intervall=5,
            rate_limit="5/minute",
            owned={"RATE_LIMT": "off", "REDIS_URL": 5},
        )
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "owned has 'RATE_LIMT', which is none of these; the nearest known name is RATE_LIMIT.",
        "REDIS_URL in owned is no text",
        "'monitoring_intervall' is no setting; the nearest known one is monitoring_interval.",
        "'rate_limit' is no setting; the nearest known one is owned={'RATE_LIMIT'",
        "monitoring_interval is 0",
        "PROMETHEUS_PORT is 'http'",
        "alert_cpu_critical_threshold is 70, on the safe side of ALERT_CPU_THRESHOLD (90.0)",
    ]


def test_what_is_switched_off_in_code_judges_nothing() -> None:
    """`disabled` is as OTELMON_DISABLED, and goes before it."""
    assert Settings.from_env({"MONITORING_INTERVAL": "0"}, disabled=True).disabled
    assert not Settings.from_env({"OTELMON_DISABLED": "true"}, disabled=False).disabled


def test_owned_is_judged_by_its_kind() -> None:
    """What is no mapping is refused as any other value is."""
    with pytest.raises(ConfigError, match="owned is 5: give texts"):
        Settings(owned=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="owned is 5: give texts"):
        Settings.from_env({}, owned=5)


# -- Settings alone -------------------------------------------------------------------------------


def test_plain_settings_read_what_has_no_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their fields are free of the environment; limits, pools and sessions are the environment's."""
    monkeypatch.setenv("MONITORING_INTERVAL", "3")
    monkeypatch.setenv("RATE_LIMIT", "5/minute")
    monkeypatch.setenv("SESSION_SECRET", "x" * 40)
    settings = Settings(health_check_interval=5)
    assert settings.monitoring_interval == 10.0
    app = harden(hello, settings)
    assert {RateLimit, Sessions} <= {*layers(app)}
    assert settings.limits().rate_limit == (5, 60)
    assert Settings(owned={}).limits().rate_limit == (100, 60)


def test_a_pool_is_the_same_before_and_after_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the engine or the monitor is made first decides nothing."""
    monkeypatch.setenv("DB_POOL_SIZE", "3")
    before = engine_options("sqlite:///shop.db")
    with closing(monitor(hello, Settings(monitoring_interval=5))):
        assert engine_options("sqlite:///shop.db") == before
    assert before["pool_size"] == 3


def test_a_cache_follows_the_settings_of_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """QUERY_CACHE_TTL is the monitor's, whichever is made first; what is given goes before."""
    monkeypatch.setenv("QUERY_CACHE_TTL", "60")
    early, own = QueryCache("early"), QueryCache("own", ttl=5)
    assert early.ttl == 60
    with closing(monitor(hello, Settings.from_env(query_cache_ttl=7))):
        assert (early.ttl, QueryCache("late").ttl, own.ttl) == (7, 7, 5)


def test_a_client_follows_the_settings_of_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """REDIS_URL is the monitor's, also one that is set in code."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    settings = Settings.from_env(owned={"REDIS_URL": "redis://elsewhere:1/0"})
    with closing(monitor(hello, settings)), redis_client() as client:
        assert client.connection_pool.connection_kwargs["host"] == "elsewhere"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((None,), "app is None: give a WSGI application"),
        ((hello, {}), "settings is {}: give Settings"),
        ((hello, {"a": 1}), "settings is {'a': 1}: give Settings"),
        (("app", "settings"), r"app is 'app'(.|\n)*settings is 'settings'"),
    ],
)
def test_monitor_refuses_what_it_cannot_use(arguments: Any, problem: str) -> None:  # noqa: ANN401 - wrong on purpose
    """At once, with the name, the value and the way out."""
    for wrap in (monitor, harden):
        with pytest.raises(ConfigError, match=problem):
            wrap(*arguments)


@pytest.mark.parametrize("views", ["x", 5, {"a": 1}, ["x"], View(drop=True)])
def test_monitor_refuses_views_that_are_none(views: Any) -> None:  # noqa: ANN401 - as above
    """A view by itself, or a list of anything else."""
    for call in (lambda: monitor(hello, views=views), lambda: meter_provider(views=views)):
        with pytest.raises(ConfigError, match=r"views (is|have) .*: give a list"):
            call()


def test_what_plain_settings_leave_aside_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning of harden and monitor together, by names, without those that change nothing."""
    environ = {
        "OTELMON_TOKEN": TOKEN,
        "ALERT_WEBHOOK_URL": "no address",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,service.version=2",
        "MONITORING_INTERVAL": "3",
        "PROMETHEUS_PORT": "9090  # the default",
        "RATE_LIMIT": "5/minute",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings = Settings(monitoring_interval=5)
    with closing(monitor(harden(hello, settings), settings)):
        pass
    (said,) = [each for each in caplog.messages if "from_env" in each]
    assert said.startswith(
        "ALERT_WEBHOOK_URL, OTELMON_DIR, OTELMON_TOKEN, OTEL_RESOURCE_ATTRIBUTES: set in the "
        "environment, but not in force"
    )
    assert "hunter2" not in caplog.text


def test_settings_of_the_environment_leave_nothing_aside(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor do copies of them, nor what was switched off."""
    monkeypatch.setenv("OTELMON_TOKEN", TOKEN)
    read = Settings.from_env(token=None)
    for settings in (
        read,
        dataclasses.replace(read, monitoring_interval=5),
        pickle.loads(pickle.dumps(read)),
        Settings(disabled=True),
    ):
        with closing(monitor(hello, settings)):
            pass
    assert [each for each in caplog.messages if "not in force" in each] == []


@pytest.mark.parametrize("read", [True, False])
def test_a_token_that_is_not_in_force_is_never_said_to_be_unset(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, read: bool
) -> None:
    """The announcement says that the endpoints are open, and why."""
    monkeypatch.setenv("OTELMON_TOKEN", TOKEN)
    settings = Settings.from_env(token=None) if read else Settings()
    announce(settings, ["/health"], [hello], log=logging.getLogger("otelmon"))
    (said,) = [each for each in caplog.messages if "OTELMON_TOKEN" in each]
    assert said.startswith("OTELMON_TOKEN is set, but not in force, as the settings given in code")
    assert "Settings.from_env(...)" in said
    assert "is not set" not in said
