"""What is exported for Prometheus and Alertmanager, read by these programs."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

from otelmon import cli
from otelmon.alerts.built_in import built_in
from otelmon.errors import ConfigError
from otelmon.export import blocks
from otelmon.export.alertmanager import alertmanager
from otelmon.export.alerts import alerts
from otelmon.export.burn_rate import burn_rates
from otelmon.export.prometheus_rules import prometheus_rules
from otelmon.export.scrape import scrape
from otelmon.settings import Settings
from tests import promtool_cases
from tests.gunicorn_server import Gunicorn
from tests.prometheus_server import Prometheus
from tests.scrapes import samples
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Sequence


RUNBOOKS: Final = Path(__file__).parent.parent / "docs" / "runbooks"
TOKEN: Final = "a-token=of/the_test"


def run(*command: str) -> str:
    """Run a program that must succeed; return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("names", ["seed", "semconv", "both"])
@pytest.mark.parametrize("slo", [None, 95.0, 99.9])
def test_promtool_finds_nothing_wrong_with_the_rules(
    tmp_path: Path, names: Literal["seed", "semconv", "both"], slo: float | None
) -> None:
    """Whatever the vocabulary and the objective are."""
    path = tmp_path / "otelmon.rules.yml"
    settings = Settings(prometheus_names=names, slo_availability=slo)
    path.write_text(prometheus_rules(settings, job="shop"))

    assert "FAILED" not in run("promtool", "check", "rules", str(path))


@pytest.mark.parametrize("names", ["seed", "semconv", "both"])
def test_every_alert_fires_when_it_is_to_and_not_else(
    tmp_path: Path, names: Literal["seed", "semconv", "both"]
) -> None:
    """promtool plays each through its states: well, past the warning, past the critical, too few."""
    rules = tmp_path / "otelmon.rules.yml"
    settings = Settings(slo_availability=99.9, prometheus_names=names)
    rules.write_text(prometheus_rules(settings, job="shop"))
    tests = promtool_cases.write(tmp_path, rules, names=names)

    assert run("promtool", "test", "rules", *map(str, tests)).count("SUCCESS") == len(tests)
    exported = [*alerts(settings, job="shop"), *burn_rates(settings)]
    assert promtool_cases.STATES.keys() == {each.name for each in exported}


def test_the_thresholds_are_those_of_the_settings() -> None:
    """What is off has no rule, what is set has its own, and a critical one follows or is off."""
    settings = Settings(
        alert_cpu_threshold=60.0,
        alert_memory_threshold="off",
        alert_disk_critical_threshold="off",
        monitoring_interval=5.0,
    )
    found = {(each.id, each.severity): each.expr for each in alerts(settings, job="shop")}

    assert found["cpu", "warning"] == "system_cpu_usage_percent > 60"
    assert found["cpu", "critical"] == "system_cpu_usage_percent > 90"
    assert not {("memory", "warning"), ("memory", "critical"), ("disk", "critical")} & found.keys()
    assert found["collector", "warning"] == "otelmon_keeper_age_seconds > 20"


def test_there_is_no_burn_that_could_never_come() -> None:
    """Of 93.07 % the factor 14.4 is 99.8 % of all requests, and no lower objective is taken."""
    assert burn_rates(Settings()) == []
    with pytest.raises(ConfigError, match=r"above 93\.06"):
        Settings(slo_availability=93.05)
    assert "> 0.99792\n" in burn_rates(Settings(slo_availability=93.07))[0].expr
    assert len(burn_rates(Settings(slo_availability=99.99))) == 4


def test_what_burned_is_said_as_it_is() -> None:
    """The share that failed is the figure; of the budget only the least that has gone is known."""
    (first, *_) = burn_rates(Settings(slo_availability=99.9))
    assert first.description == (
        "{{ $value | humanizePercentage }} of the requests of the last 1h failed, more than 14.4 "
        "times what 99.9 % allow: with even traffic at least 2 % of the 30-day budget."
    )


def test_every_alert_has_a_runbook() -> None:
    """docs/runbooks/ has a page for each that is exported, with its name; where it is published is a setting."""
    settings = Settings(slo_availability=99.9)
    exported = [*alerts(settings, job="shop"), *burn_rates(settings)]
    for each in exported:
        assert each.name in (RUNBOOKS / f"{each.id}.md").read_text(), each.id
    # A path is no address.
    assert "runbook_url" not in prometheus_rules(settings, job="shop")
    linked = Settings(alert_runbook_url="https://wiki.example/otelmon/")
    assert '"https://wiki.example/otelmon/cpu"' in prometheus_rules(linked, job="shop")


def test_alertmanager_takes_its_sample(tmp_path: Path) -> None:
    """amtool finds a rule that has the critical alert silence the warning."""
    path = tmp_path / "alertmanager.yml"
    path.write_text(alertmanager())

    assert "1 inhibit rules" in run("amtool", "check-config", str(path))


def test_what_the_process_judges_by_itself_is_exported() -> None:
    """Each rule that is there without any code has one for Prometheus, and the file says what has none."""
    exported = {each.id for each in alerts(Settings(), job="{}")}
    assert exported >= {rule.id for rule in built_in(Settings())}
    assert "otelmon.add_rule" in prometheus_rules(Settings(), job="shop")


# -- the scrape -----------------------------------------------------------------------------------


def test_a_port_that_may_be_any_is_to_be_named() -> None:
    """With PROMETHEUS_PORT=0 nobody can know it; IPv6 is put into brackets."""
    with pytest.raises(ConfigError, match="name the port by --target"):
        scrape(Settings(prometheus_port=0), job="shop")
    assert '"h:1"' in scrape(Settings(prometheus_port=0), job="shop", target="h:1")
    assert '"[::1]:9090"' in scrape(Settings(prometheus_host="::1"), job="shop")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_any_address_is_none_to_scrape(host: str) -> None:
    """The machine's name stands in its place, and a comment says so."""
    written = scrape(Settings(prometheus_host=host), job="shop")
    assert f'targets:\n          - "{socket.gethostname()}:9090"' in written
    assert f"# PROMETHEUS_HOST is {host}, any address:" in written
    named = scrape(Settings(prometheus_host=host), job="shop", target="web-1:9090")
    assert '"web-1:9090"' in named
    assert "any address" not in named


def test_the_token_is_in_no_file() -> None:
    """The scrape names a file that is to hold it."""
    settings = Settings(token=TOKEN)
    written = scrape(settings, job="shop", token_file="/run/t")

    assert 'credentials_file: "/run/t"' in written
    assert TOKEN not in written + prometheus_rules(settings, job="shop") + alertmanager()
    assert "authorization" not in scrape(Settings(), job="shop")


def exported(*arguments: str, capsys: pytest.CaptureFixture[str], **environ: str) -> str:
    """Return what the command writes."""
    assert cli.main(["export", *arguments], environ) == 0
    return capsys.readouterr().out


def test_the_command_reads_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Job and thresholds are of the variables, also of an env file; what is wrong is a sentence."""
    env_file = tmp_path / ".env"
    env_file.write_text("ALERT_CPU_THRESHOLD=50 # percent\n")
    arguments = ("prometheus-rules", "--env-file", str(env_file))
    rules = exported(*arguments, capsys=capsys, OTEL_SERVICE_NAME="shop")

    assert '"system_cpu_usage_percent > 50"' in rules
    assert r"up{job=\"shop\"} == 0" in rules
    assert r"up{job=\"otelmon\"} == 0" in exported("prometheus-rules", capsys=capsys)
    assert 'job_name: "x"' in exported("scrape", "--job", "x", capsys=capsys)
    assert "inhibit_rules" in exported("alertmanager", capsys=capsys)
    assert cli.main(["export", "scrape"], {"ALERT_CPU_THRESHOLD": "x"}) == 1
    assert "ALERT_CPU_THRESHOLD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tree", "lines"),
    [
        ({"a": 1, "b": [True, "x: #y"]}, ["a: 1", "b:", "  - true", '  - "x: #y"']),
        ({"a": [{"b": "c", "d": {"e": 1.5}}]}, ["a:", '  - b: "c"', "    d:", "      e: 1.5"]),
        ({"a": "b\nc"}, ["a: |-", "  b", "  c"]),
    ],
)
def test_blocks_are_yaml(tree: dict[str, Any], lines: Sequence[str]) -> None:
    """Mappings and lists are indented, texts are quoted, and comments stand in front."""
    assert blocks.text(tree, about=["of", ""]).splitlines() == ["# of", "#", *lines]


# -- an application that is scraped ---------------------------------------------------------------


@pytest.mark.parametrize("names", ["seed", "semconv", "both"])
def test_a_scrape_has_every_series_that_the_rules_ask_for(
    tmp_path: Path, names: Literal["seed", "semconv", "both"]
) -> None:
    """Of a real server with traffic, a cache, a pool and a check, whatever the vocabulary is."""
    env = {"HEALTHY": "1", "MONITORING_INTERVAL": "1", "OTELMON_PROMETHEUS_NAMES": names}
    settings = Settings(prometheus_names=names, slo_availability=99.9)
    rules = [*alerts(settings, job="shop"), *burn_rates(settings)]
    asked = {name for each in rules for name in promtool_cases.series(each.expr)} - {"up"}

    def missing() -> set[str]:
        server.get("/cache")
        return asked - {each.partition("{")[0] for each in samples(server.get("/metrics").text)}

    assert len(asked) > 10
    with Gunicorn(tmp_path, app="tests.apps.faulty:app", workers=1, env=env) as server:
        assert until(lambda: not missing(), 60, every=0.2), missing()


# -- a Prometheus that has them -------------------------------------------------------------------


def test_prometheus_runs_rules_and_scrape_as_they_are_exported(tmp_path: Path) -> None:
    """A real one takes both files, finds every rule well, and an alert that is due is on its way."""
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    env = {
        "OTELMON_TOKEN": TOKEN,
        "MONITORING_INTERVAL": "1",
        "ALERT_MEMORY_THRESHOLD": "0.5",
        "OTELMON_SLO_AVAILABILITY": "99.9",
    }
    with Gunicorn(tmp_path, workers=1, env=env) as server:
        own = {"ENABLE_PROMETHEUS": "true", "PROMETHEUS_PORT": str(server.metrics_port)}
        settings = Settings.from_env({**env, **own})
        rules, scraped = tmp_path / "otelmon.rules.yml", tmp_path / "prometheus.yml"
        rules.write_text(prometheus_rules(settings, job="shop"))
        prometheus = Prometheus(tmp_path, {})
        # In place of what it would be told.
        scraped.write_text(
            f'rule_files: ["{rules}"]\nglobal: {{evaluation_interval: 1s}}\n'
            + scrape(settings, job="shop", token_file=str(token_file))
        )
        with prometheus:
            assert until(lambda: _is_pending(prometheus), 60, every=0.2), prometheus.log
            assert until(lambda: _all_are_well(prometheus), 60, every=0.2)
            # A scrape that a busy machine was too slow for is followed by another.
            assert until(lambda: prometheus.number('up{job="shop"}') == 1, 60)


def _is_pending(prometheus: Prometheus) -> bool:
    found = prometheus.api("alerts")["alerts"]
    states = {each["labels"]["alertname"]: each["state"] for each in found}
    return states.get("OtelmonHighMemory") in ("pending", "firing")


def _all_are_well(prometheus: Prometheus) -> bool:
    groups = prometheus.api("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return bool(rules) and all(rule["health"] == "ok" for rule in rules)
