"""Alerts of a real server in a real Alertmanager."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.alertmanager_server import Alertmanager
from tests.gunicorn_server import Gunicorn, ask
from tests.receiver import receiving
from tests.test_alerts_gunicorn import APP, env, set_level, stands
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.receiver import Receiver


WARNING: Final = ("Level", "warning")
CRITICAL: Final = ("Level", "critical")
OTHER: Final = ("Other", "warning")


@pytest.fixture(name="receiver", scope="module")
def _receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(name="manager", scope="module")
def _manager(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[Alertmanager]:
    with Alertmanager(tmp_path_factory.mktemp("manager"), receiver.url()) as manager:
        yield manager


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory, manager: Alertmanager) -> Iterator[Gunicorn]:
    directory = tmp_path_factory.mktemp("alerts")
    given = env(directory, ALERTMANAGER_URL=f"http://127.0.0.1:{manager.port}/")
    with Gunicorn(directory, app=APP, workers=2, env=given) as server:
        server.wait_for_workers()
        assert until(lambda: stands(server, "level") == "ok", 40), server.log
        yield server


def set_other(server: Gunicorn, value: float) -> None:
    """Write what the rule `other` reads."""
    new = server.directory / "other.new"
    new.write_text(str(value))
    new.replace(server.directory / "level.other")


def test_an_alert_lives_and_ends_there(
    server: Gunicorn, manager: Alertmanager, receiver: Receiver
) -> None:
    """It fires, escalates, inhibits a warning beside it, and resolves, in its API and its webhook."""
    set_level(server, 11)
    set_other(server, 11)
    assert until(lambda: manager.states() == dict.fromkeys((WARNING, OTHER), "active"), 30)
    found = manager.alerts()[WARNING]
    assert found["labels"] == {
        "alertname": "Level",
        "severity": "warning",
        "service": "shop",
        "instance": found["labels"]["instance"],
        "metric": "level",
        "source": "otelmon",
    }
    assert found["annotations"]["description"] == "The level is 11 m (warning above 10 m)."
    assert until(lambda: (*WARNING, "firing") in receiver.news, 30)

    set_level(server, 21)
    assert until(lambda: manager.states() == {CRITICAL: "active", OTHER: "suppressed"}, 30)
    (inhibitor,) = manager.alerts()[OTHER]["status"]["inhibitedBy"]
    assert inhibitor == manager.alerts()[CRITICAL]["fingerprint"]
    assert until(lambda: (*CRITICAL, "firing") in receiver.news, 30)

    set_level(server, 0)
    assert until(lambda: manager.states() == {OTHER: "active"}, 30)
    # Of the warning, which the critical one inhibits as long as it lasts, it tells only now.
    for each in (CRITICAL, WARNING):
        assert until(lambda: (*each, "resolved") in receiver.news, 30)  # noqa: B023
    set_other(server, 0)
    assert until(lambda: manager.states() == {}, 30)


def test_an_alertmanager_that_was_down_misses_nothing(tmp_path: Path) -> None:
    """What fires while it is down is there soon after; one log line, and requests as quick as ever."""
    # Of its own: another Alertmanager may still have something to tell the other test's.
    with receiving() as receiver:
        manager = Alertmanager(tmp_path, receiver.url())
        _miss_nothing(tmp_path, manager, receiver)


def _miss_nothing(directory: Path, manager: Alertmanager, receiver: Receiver) -> None:
    given = env(directory, ALERTMANAGER_URL=f"http://127.0.0.1:{manager.port}")
    with Gunicorn(directory, app=APP, workers=2, env=given) as server:
        server.wait_for_workers()
        assert until(lambda: stands(server, "level") == "ok", 40), server.log
        calm = median_time(server)
        set_level(server, 11)
        assert until(lambda: channel(server, "failures") not in (0, 1, None), 30), server.log
        set_level(server, 21)
        set_other(server, 11)
        assert until(lambda: stands(server, "level") == "firing critical", 30)
        assert until(lambda: stands(server, "other") == "firing warning", 30)
        # Whoever had to wait for it would do so at all times, and not only when a machine is busy.
        assert until(lambda: median_time(server) < 5 * calm + 0.005, 60)
        said = (channel(server, "state"), channel(server, "error"))
        assert said == ("failing", "ConnectionRefusedError")
        with manager:
            assert_is_made_up_for(server, manager, receiver)


def assert_is_made_up_for(server: Gunicorn, manager: Alertmanager, receiver: Receiver) -> None:
    """Check what an Alertmanager is told of an outage in which a warning became critical and another was raised."""
    assert until(lambda: manager.states().get(CRITICAL) == "active", 60), server.log
    assert WARNING not in manager.states()
    # Of the same message; the critical one inhibits it, as long as it lasts.
    assert until(lambda: manager.states().get(OTHER) == "suppressed", 30), server.log
    # What it was told last is on the board with the next publication.
    assert until(lambda: has_been_told(server), 30)
    assert server.log.count("alertmanager does not take notifications") == 1
    set_level(server, 0)
    assert until(lambda: CRITICAL not in manager.states(), 30), server.log
    assert until(lambda: (*CRITICAL, "resolved") in receiver.news, 30)
    # The warning that was raised while it was down, and lasts, is told of.
    assert until(lambda: manager.states().get(OTHER) == "active", 30), server.log
    assert until(lambda: (*OTHER, "firing") in receiver.news, 30)
    # What was over before it came back was told as over, and never as firing.
    assert (*WARNING, "firing") not in receiver.news


def channel(server: Gunicorn, name: str) -> object:
    """Return how the Alertmanager does, as `/health` has it; None before anything was told."""
    told = server.get("/health").json()["otelmon"]["notifications"]
    return told.get("alertmanager", {}).get(name)


def has_been_told(server: Gunicorn) -> bool:
    """Tell whether the Alertmanager has everything."""
    names = ("state", "waiting", "dropped")
    return [channel(server, name) for name in names] == ["ok", 0, 0]


def median_time(server: Gunicorn) -> float:
    """Return the median of what a request takes, in seconds."""
    times = []
    for _ in range(100):
        before = time.perf_counter()
        ask(server.port, "/")
        times.append(time.perf_counter() - before)
    return sorted(times)[50]
