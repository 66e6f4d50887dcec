"""The settings as a whole: all problems at once, and nothing secret told."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle
import traceback
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otelmon.errors import ConfigError, LedgerError, OtelmonError
from otelmon.settings import (
    OWNED,
    Bodies,
    Database,
    Limits,
    Rate,
    Sessions,
    Settings,
    value_in,
)
from otelmon.settings.variables import warn_once


SEED = Path(__file__).parent / "data" / "seed.env"

# What the application may mean by names that otelmon knows too.
GARBAGE = {
    "RATE_LIMIT": "100/minute;5/second",
    "REDIS_URL": "sentinel",
    "MAX_CONTENT_LENGTH": "16MB",
    "SESSION_LIFETIME": "31 days",
    "SESSION_SECRET": "a #b",
    "STATIC_PREFIX": "https://cdn",
    "STATIC_MAX_AGE": "1y",
    "DB_POOL_SIZE": "many",
    "TRUSTED_PROXIES": "10.0.0.0/8",
}

PRINTABLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
SECRET = st.text(PRINTABLE, min_size=1).map(lambda text: f"hunter2{text}")


@pytest.fixture(autouse=True)
def _nothing_warned_yet() -> None:
    warn_once.cache_clear()


def refusal(environ: dict[str, str]) -> ConfigError:
    """Return the error of an environment."""
    with pytest.raises(ConfigError) as caught:
        Settings.from_env(environ)
    return caught.value


def docker(text: str) -> dict[str, str]:
    """Return what docker's --env-file makes of a file: all behind the equals sign is the value."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_the_seed_pasted_into_an_env_file_gives_the_defaults() -> None:
    """The seed's block, comments and all, says what otelmon does without it."""
    environ = docker(SEED.read_text(encoding="utf-8"))
    assert len(environ) == 15
    assert all("#" in value for value in environ.values())
    settings = Settings.from_env(environ)
    assert dataclasses.replace(settings, owned={}) == Settings() == Settings.from_env({})
    assert settings.database() == Database()
    assert settings.limits() == Limits()
    assert settings.bodies() == Bodies()


def test_what_an_env_file_sets_is_read_behind_its_comments() -> None:
    """The seed's block with other figures sets them."""
    text = SEED.read_text(encoding="utf-8").replace("=10 ", "=7 ").replace("=false ", "=true ")
    settings = Settings.from_env(docker(text))
    assert (settings.monitoring_interval, settings.enable_prometheus) == (7.0, True)
    assert settings.database().pool_size == 7


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the environment of the process is read."""
    monkeypatch.setenv("MONITORING_INTERVAL", "3")
    assert Settings.from_env().monitoring_interval == 3.0


def test_all_problems_come_at_once() -> None:
    """One error tells every bad variable and every contradiction, one per line."""
    error = refusal(
        {
            "MONITORING_INTERVAL": "0",
            "PROMETHEUS_PORT": "http",
            "ALERT_MEMORY_THRESHOLD": "nan",
            "ALERT_MEMORY_CRITICAL_THRESHOLD": "10",
            "ALERT_DISK_CRITICAL_THRESHOLD": "80",
            "OTELMON_TOKEN": "two words",
        }
    )
    assert error.problems == (
        "ALERT_MEMORY_THRESHOLD is 'nan': give a percentage from 0 to 100, or off, or unset it for 85.",
        "MONITORING_INTERVAL is '0': give a number of seconds from 1 to 60, or unset it for 10.",
        "PROMETHEUS_PORT is 'http': give a port from 0 (any free one) to 65535, or unset it for 9090.",
        "OTELMON_TOKEN is unusable (the value is not shown, it may be secret): give visible ASCII characters without a space or a comment behind them, or unset it.",
        "ALERT_DISK_CRITICAL_THRESHOLD is 80.0, on the safe side of ALERT_DISK_THRESHOLD (90.0): give at least 90.0, or unset it for 97.5.",
    )
    assert str(error) == "\n".join(error.problems)


def test_values_given_in_code_follow_the_same_rules() -> None:
    """Settings made in code are judged as the environment is, and the fields are named."""
    with pytest.raises(ConfigError) as caught:
        Settings(
            monitoring_interval=0,
            prometheus_port=True,
            alert_hysteresis="0.1",  # type: ignore[arg-type]
            endpoints_off=["/health"],  # type: ignore[arg-type]
            excluded_urls=(1,),  # type: ignore[arg-type]
            alert_webhook_url=b"http://h",  # type: ignore[arg-type]
            alert_cpu_critical_threshold=70,
        )
    named = {problem.split(" is ")[0] for problem in caught.value.problems}
    assert named == {
        "monitoring_interval",
        "prometheus_port",
        "alert_hysteresis",
        "endpoints_off",
        "excluded_urls",
        "alert_webhook_url",
        "alert_cpu_critical_threshold",
    }
    assert Settings(monitoring_interval=5).monitoring_interval == 5
    with pytest.raises(ConfigError, match="pool_size is -1"):
        Database(pool_size=-1)
    assert Limits(rate_limit=Rate(5, 1)).rate_limit == Rate(5, 1)


def test_the_metrics_port_is_open_to_this_machine_alone() -> None:
    """Unless PROMETHEUS_HOST says otherwise."""
    assert Settings.from_env({}).prometheus_host == "127.0.0.1"
    assert Settings.from_env({"PROMETHEUS_HOST": "0.0.0.0"}).prometheus_host == "0.0.0.0"


def test_a_name_of_the_application_is_judged_by_the_part_that_uses_it() -> None:
    """Garbage under a generic name refuses the part that needs it, and nothing else."""
    settings = Settings.from_env(GARBAGE)
    assert settings.owned == GARBAGE
    parts = (
        settings.database,
        settings.bodies,
        settings.limits,
        settings.sessions,
        settings.static,
        settings.redis,
    )
    problems: list[str] = []
    for part in parts:
        with pytest.raises(ConfigError) as caught:
            part()
        problems += caught.value.problems
    assert {problem.split(" is ")[0] for problem in problems} == set(GARBAGE)


def test_nothing_is_judged_when_otelmon_is_switched_off() -> None:
    """OTELMON_DISABLED works when the rest is broken; the parts keep their settings."""
    bad = {"MONITORING_INTERVAL": "0", "DB_POOL_SIZE": "3"}
    settings = Settings.from_env({**bad, "OTELMON_DISABLED": "yes  # for now"})
    assert settings.disabled
    assert settings.database().pool_size == 3
    assert len(refusal({**bad, "OTELMON_DISABLED": "perhaps"}).problems) == 2


def test_an_unknown_name_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    """A mistyped OTELMON_ or ALERT_ name is told once, with the nearest known name."""
    environ = {
        "ALERT_CPU_TRESHOLD": "70",
        "OTELMON_TOKE": "hunter2",
        "OTELMON_NOTHING": "  # unset",
        "ALERTMANAGER_URL": "http://h",
        "OTHER": "1",
    }
    Settings.from_env(environ)
    Settings.from_env(environ)
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("otelmon", logging.WARNING)
    ] * 2
    assert caplog.messages == [
        "'ALERT_CPU_TRESHOLD' is no variable of otelmon; the nearest known name is ALERT_CPU_THRESHOLD.",
        "'OTELMON_TOKE' is no variable of otelmon; the nearest known name is OTELMON_TOKEN.",
    ]


@given(secret=SECRET)
@example(secret="hunter2@host:bad/path #x")
@example(secret="hunter2://x")
def test_no_message_shows_a_secret(secret: str) -> None:
    """Whatever is wrong with a secret or an address, its text is in no message or traceback."""
    environ = {
        "OTELMON_TOKEN": f"{secret} \u00e9",
        "ALERT_WEBHOOK_SECRET": f"{secret} #{secret}",
        "SESSION_SECRET": f"{secret} #{secret}",
        "ALERT_WEBHOOK_URL": f"ftp://hooks/{secret}",
        "ALERTMANAGER_URL": f"user:{secret}@host",
        "REDIS_URL": f"http://user:{secret}@host/0",
        "PROMETHEUS_HOST": f"http://user:{secret}@host",
        "MONITORING_INTERVAL": f"user:{secret}@host",
    }
    settings = Settings.from_env({name: environ[name] for name in ("REDIS_URL", "SESSION_SECRET")})
    calls = (lambda: Settings.from_env(environ), settings.redis, settings.sessions)
    for call in calls:
        with pytest.raises(ConfigError) as caught:
            call()
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert "hunter2" not in told


@given(secret=SECRET)
def test_repr_shows_no_secret(secret: str) -> None:
    """A repr of settings holds no token, key or address, nor a variable the application owns."""
    quoted = f'"{secret}"' if "'" in secret else f"'{secret}'"
    environ = {
        "OTELMON_TOKEN": quoted,
        "ALERT_WEBHOOK_SECRET": quoted,
        "ALERT_WEBHOOK_URL": f"https://hooks/{secret}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://user:{secret}@collector",
        "SESSION_SECRET": secret,
        "REDIS_URL": "redis://:hunter2@host",
    }
    settings = Settings.from_env(environ)
    assert settings.token is not None
    assert "hunter2" in settings.token
    for shown in (settings, settings.sessions(), settings.redis()):
        assert "hunter2" not in repr(shown)


@given(st.text(st.characters(exclude_characters="\"'#", exclude_categories=["C", "Z"])), st.text())
def test_a_value_is_what_stands_before_the_comment(value: str, comment: str) -> None:
    """Text without quotes comes back from a value with any comment, or with quotes around it."""
    assert value_in(f"{value} # {comment}") == value
    assert value_in(f'"{value} #x"  # {comment}') == f"{value} #x"
    assert value_in(f"{value}#x") == f"{value}#x"


def test_settings_are_values() -> None:
    """Equal settings are equal, hash alike, cannot be changed, and pass through pickle."""
    settings = Settings.from_env({"DB_POOL_SIZE": "3", "MONITORING_INTERVAL": "5"})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert hash(settings) == hash(Settings(monitoring_interval=5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.monitoring_interval = 6  # type: ignore[misc]
    assert all(part() == part() for part in OWNED)
    assert Sessions().secrets == ()


@pytest.mark.parametrize("error", [ConfigError("One.", "Two."), LedgerError("It is gone.")])
def test_errors_keep_their_words_through_pickle(error: OtelmonError) -> None:
    """An error that crosses a process says the same on the other side."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
