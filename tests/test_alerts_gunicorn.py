"""Alerts of a real server: one state for all workers, whoever dies."""

from __future__ import annotations

import hashlib
import hmac
import signal
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest

from otelmon.ledger import layout
from tests import peek
from tests.gunicorn_server import Gunicorn
from tests.receiver import receiving
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otelmon.board import AlertState
    from tests.receiver import Receiver


APP: Final = "tests.apps.alarmed:app"
PATH: Final = "/api/metrics/alerts"
SECRET: Final = "a secret"


def env(directory: Path, receiver: Receiver | None = None, **more: str) -> dict[str, str]:
    """Return the environment of a server whose application looks at a file, at 0 so far."""
    told = {} if receiver is None else {"ALERT_WEBHOOK_URL": receiver.url("/hook?a=b", "me:pw@")}
    level = directory / "level"
    level.write_text("0")
    level.with_suffix(".other").write_text("0")
    return {
        "LEVEL": str(level),
        "MONITORING_INTERVAL": "1",
        "OTEL_SERVICE_NAME": "shop",
        "ALERT_WEBHOOK_SECRET": SECRET,
        "ALERT_RESOLVE_SECONDS": "0",
        **told,
        **more,
    }


def set_level(server: Gunicorn, value: float) -> None:
    """Write what the rule `level` reads."""
    level = server.directory / "level.new"
    level.write_text(str(value))
    level.replace(server.directory / "level")


def alert(server: Gunicorn, name: str) -> dict[str, Any]:
    """Return one alert as the endpoint has it."""
    (found,) = (each for each in server.get(PATH).json()["alerts"] if each["id"] == name)
    shown: dict[str, Any] = found
    return shown


def stands(server: Gunicorn, name: str) -> str | None:
    """Return the state of an alert, None if there is none yet."""
    found = [each for each in server.get(PATH).json()["alerts"] if each["id"] == name]
    return f"{found[0]['state']} {found[0]['level'] or ''}".strip() if found else None


def on_board(server: Gunicorn, *names: str) -> list[AlertState]:
    """Return how alerts stand, as the keepers hand it on."""
    found = {each.id: each for each in peek.board_of(server).published.alerts}
    return [found[name] for name in names]


def of_level(receiver: Receiver) -> list[tuple[str, str]]:
    """Return severity and status of what was told of the rule `level`, in order."""
    return [(level, status) for name, level, status in receiver.news if name == "Level"]


@pytest.fixture(name="receiver", scope="module")
def _receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Gunicorn]:
    directory = tmp_path_factory.mktemp("alerts")
    with Gunicorn(directory, app=APP, env=env(directory, receiver)) as server:
        server.wait_for_workers()
        assert until(lambda: stands(server, "level") == "ok", 40), server.log
        yield server


@pytest.fixture(autouse=True)
def _low(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the next test begin with an alert that is over, and of which all was told."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        set_level(server, 0)
        assert until(lambda: stands(server, "level") == "ok", 30)
        assert until(lambda: peek.is_told(server, layout.HEADER_POSTED), 30)


def test_an_alert_of_the_applications_own_is_everywhere(
    server: Gunicorn, receiver: Receiver
) -> None:
    """It fires, escalates and resolves: in all endpoints, as series, in the log, in the webhook."""
    begun = len(of_level(receiver))
    set_level(server, 11)
    assert until(lambda: stands(server, "level") == "firing warning", 30), server.log
    assert_is_shown(server)

    set_level(server, 21)
    assert until(lambda: stands(server, "level") == "firing critical", 30)
    set_level(server, 0)
    assert until(lambda: stands(server, "level") == "ok", 30)
    assert until(lambda: len(of_level(receiver)) >= begun + 4, 30)
    assert of_level(receiver)[begun:] == [
        ("warning", "firing"),
        ("warning", "resolved"),
        ("critical", "firing"),
        ("critical", "resolved"),
    ]
    assert "Alert Level raised to warning: The level is 11 m" in server.log
    assert "Alert Level escalated to critical: The level is 21 m" in server.log
    told = server.get(PATH).json()["transitions"]
    news = [each for each in told if each["alert"] == "level"][:3]
    assert [(each["from"], each["to"], each["reason"]) for each in news] == [
        ("critical", "ok", "cleared"),
        ("warning", "critical", "escalated"),
        ("ok", "warning", "raised"),
    ]
    assert news[0]["peak"] == 21.0


def assert_is_shown(server: Gunicorn) -> None:
    """Check the answers of a server whose level is 11."""
    alerts = server.get("/api/metrics").json()["alerts"]
    (shown,) = (each for each in alerts if each["id"] == "level")
    assert shown["message"] == "The level is 11 m (warning above 10 m)."
    assert shown["labels"]["service"] == "shop"
    assert shown["labels"]["instance"].endswith(f":{server.port}")
    health = server.get("/health")
    assert (health.status, health.json()["status"]) == (200, "degraded")
    # Other rules may fire by now too, none of them critical.
    counted = health.json()["monitoring"]["alerts"]
    assert counted["warning"] > 0
    assert counted == {"critical": 0, "warning": counted["warning"], "total": counted["warning"]}
    text = server.ops("/metrics").text
    assert 'otelmon_alert_firing{alert="level",level="warning"} 1' in text
    assert 'otelmon_alert_firing{alert="level",level="critical"} 0' in text


def test_what_is_posted_is_signed_and_shows_no_credentials(
    server: Gunicorn, receiver: Receiver
) -> None:
    """Path, query and credentials of the address are used; the signature is that of the body."""
    begun = len(of_level(receiver))
    set_level(server, 11)
    assert until(lambda: len(of_level(receiver)) > begun, 30)
    message = receiver.taken[-1]
    wanted = hmac.new(SECRET.encode(), message.raw, hashlib.sha256).hexdigest()

    assert message.path == "/hook?a=b"
    assert message.headers["Authorization"] == "Basic bWU6cHc="
    assert message.headers["X-Otelmon-Signature"] == f"sha256={wanted}"
    assert message.body["version"] == "4"
    shown = server.get("/health").text + server.get(PATH).text + server.log
    assert "pw" not in shown
    assert SECRET not in shown


def test_all_workers_and_the_port_give_one_answer(server: Gunicorn) -> None:
    """Whoever is asked, the alerts are the same to the digit while they fire."""
    set_level(server, 21)
    assert until(lambda: stands(server, "level") == "firing critical", 30)
    answers: dict[str, set[str]] = {}

    def all_have_answered() -> bool:
        number = peek.read_board(peek.ledger(server))
        answer = server.get(PATH)
        after = peek.read_board(peek.ledger(server))
        if number is None or after is None or number.number != after.number:
            return False
        said = answer.json()
        told = str((said["alerts"], said["transitions"], said["notifications"]))
        answers.setdefault(answer.headers["X-Pid"], set())
        seen.setdefault(number.number, set()).add(told)
        return len(answers) == 4 and len(seen) >= 3

    seen: dict[int, set[str]] = {}
    assert until(all_have_answered, 60, every=0.0)
    assert {len(each) for each in seen.values()} == {1}


def test_a_rule_that_fails_or_hangs_harms_no_other(server: Gunicorn) -> None:
    """One log line, a count, and its class in the answer; nothing of what it said."""
    assert until(lambda: alert(server, "failing")["errors"]["times"] > 2, 30)
    assert until(lambda: alert(server, "hanging")["errors"]["times"] > 2, 30)
    failing, hanging = alert(server, "failing"), alert(server, "hanging")

    assert (failing["state"], failing["errors"]["error"]) == ("no_data", "RuntimeError")
    assert (hanging["state"], hanging["errors"]["error"]) == ("no_data", "TimeoutError")
    assert "secret" not in server.get(PATH).text
    assert server.log.count("alert_rule failing failed") == 1
    assert stands(server, "level") == "ok"


def test_a_rule_goes_by_the_applications_own_metric(server: Gunicorn) -> None:
    """Orders of one kind, counted by four processes, are too many a second."""
    for _ in range(40):
        server.get("/order?book")
        server.get("/order?pen")

    def one_kind_alone() -> bool:
        # A keeper that looks while they are still counted sees too few, or more of one kind.
        (book, both) = on_board(server, "orders", "all_orders")
        return book.state == "firing" and both.value == pytest.approx(2 * (book.value or 0))

    assert until(one_kind_alone, 30), on_board(server, "orders", "all_orders")
    assert stands(server, "orders") == "firing warning"


def test_a_keeper_that_is_killed_takes_no_alert_with_it(tmp_path: Path) -> None:
    """Killed while alerts fire and wait: no second word, and those that wait do not begin anew."""
    # So long an interval that a busy machine's pause between two keepers is none that breaks a wait.
    more = {"MONITORING_INTERVAL": "2"}
    with (
        receiving() as receiver,
        Gunicorn(tmp_path, app=APP, env=env(tmp_path, receiver, **more)) as server,
    ):
        server.wait_for_workers()
        assert until(lambda: stands(server, "level") == "ok", 60), server.log
        set_level(server, 11)
        # Noted too: a keeper that dies before it has noted what it told leaves that to the next.
        assert until(lambda: delivered(server) == 1, 60), server.log
        (waits, fires), keepers = on_board(server, "slow_to_fire", "level"), set[int]()
        assert (waits.state, fires.state) == ("pending", "firing")
        for _ in range(3):
            (keeper,) = peek.duty(server)
            keepers.add(keeper)
            said = peek.board_of(server).number
            psutil.Process(keeper).kill()
            assert until(lambda: peek.duty(server) - keepers, 30)
            # What the next one has judged too.
            assert until(lambda said=said: peek.board_of(server).number > said + 1, 30)  # type: ignore[misc]
        still_waits, still_fires = on_board(server, "slow_to_fire", "level")
        set_level(server, 0)
        assert until(lambda: len(of_level(receiver)) > 1, 30)

        assert len(keepers) == 3
        assert (still_waits.state, still_fires.state) == ("pending", "firing")
        assert still_waits.warning_since == waits.warning_since
        assert still_fires.started == fires.started
        assert of_level(receiver) == [("warning", "firing"), ("warning", "resolved")]
        assert server.log.count("Alert Level raised") == 1


def delivered(server: Gunicorn) -> int:
    """Return how many notifications the keeper knows to have been taken."""
    number: int = peek.board_of(server).published.channels["webhook"]["delivered"]
    return number


def test_a_reload_with_other_thresholds_is_judged_by_them(tmp_path: Path) -> None:
    """An alert that is switched off by a reload is resolved, with that reason."""
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(_CONFIG.format(threshold="0", critical="0.1"))
    given = env(tmp_path, ALERT_FOR_SECONDS="0")
    with Gunicorn(tmp_path, app=APP, workers=2, env=given, args=("-c", str(config))) as server:
        assert until(lambda: stands(server, "memory") == "firing critical", 40), server.log
        config.write_text(_CONFIG.format(threshold="off", critical="0.1"))
        server.signal(signal.SIGHUP)
        assert until(lambda: stands(server, "memory") is None, 40), server.log
        news = server.get(PATH).json()["transitions"]
        memory = [each for each in news if each["alert"] == "memory"]
        assert [(each["to"], each["reason"]) for each in memory][:2] == [
            ("ok", "rule_off"),
            ("critical", "raised"),
        ]


def test_a_firing_alert_goes_by_the_numbers_of_a_reload(tmp_path: Path) -> None:
    """A critical level that is new escalates it, higher thresholds clear it; it is raised once."""
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(_CONFIG.format(threshold="0", critical="off"))
    given = env(tmp_path, ALERT_FOR_SECONDS="0")
    with Gunicorn(tmp_path, app=APP, workers=2, env=given, args=("-c", str(config))) as server:
        assert until(lambda: stands(server, "memory") == "firing warning", 40), server.log
        config.write_text(_CONFIG.format(threshold="0", critical="0.1"))
        server.signal(signal.SIGHUP)
        assert until(lambda: stands(server, "memory") == "firing critical", 40), server.log
        config.write_text(_CONFIG.format(threshold="100", critical="off"))
        server.signal(signal.SIGHUP)
        assert until(lambda: stands(server, "memory") == "ok", 40), server.log
        news = server.get(PATH).json()["transitions"]
        assert [
            (each["from"], each["to"], each["reason"]) for each in news if each["alert"] == "memory"
        ] == [
            ("critical", "ok", "cleared"),
            ("warning", "critical", "escalated"),
            ("ok", "warning", "raised"),
        ]


_CONFIG: Final = """
import os

os.environ["ALERT_MEMORY_THRESHOLD"] = "{threshold}"
os.environ["ALERT_MEMORY_CRITICAL_THRESHOLD"] = "{critical}"
"""
