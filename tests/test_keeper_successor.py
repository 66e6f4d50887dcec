"""What a keeper has found out goes on with the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil

from tests import peek
from tests.free_ports import free_port
from tests.gunicorn_server import Gunicorn
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


def test_checks_and_advice_go_on_through_the_death_of_the_keeper(tmp_path: Path) -> None:
    """Since when a check is down, and a recommendation is made, stays; nothing is logged twice."""
    env = {
        "CHECK_OTHER_REDIS": f"redis://127.0.0.1:{free_port()}/0",
        "HEALTH_CHECK_INTERVAL": "1",
        "MONITORING_INTERVAL": "1",
        "MAX_CONTENT_LENGTH": "1000",
    }
    with Gunicorn(tmp_path, app="tests.apps.checked:app", workers=2, env=env) as server:
        server.wait_for_workers(seconds=60)
        assert until(lambda: _cache(server)["status"] == "down", 60), server.log
        assert until(lambda: _advice(server), 60), server.log
        check, advice = _cache(server), _advice(server)
        (keeper,) = peek.duty(server)
        psutil.Process(keeper).kill()
        assert until(lambda: peek.duty(server) - {keeper}, 60), server.log
        assert until(lambda: _cache(server)["checked_at"] > check["checked_at"], 60), server.log

        assert _cache(server)["since"] == check["since"]
        assert until(lambda: _advice(server).get("since") == advice["since"], 60), server.log
        assert server.log.count("The health check cache is down") == 1


def _cache(server: Gunicorn) -> dict[str, Any]:
    answer = server.try_ops("/health")
    services: dict[str, Any] = {} if answer is None else answer.json()["services"]
    found: dict[str, Any] = services.get("cache", {"status": None, "checked_at": ""})
    return found


def _advice(server: Gunicorn) -> dict[str, Any]:
    answer = server.try_ops("/api/metrics/recommendations")
    items = [] if answer is None else answer.json()["items"]
    return next((each for each in items if each["slug"] == "unused-settings"), {})


def test_a_stuck_keeper_is_seen_by_who_asks_and_ended_by_gunicorn(tmp_path: Path) -> None:
    """The other worker says `degraded` and the alert; after --timeout the next keeper goes on."""
    env = {"MONITORING_INTERVAL": "1"}
    with Gunicorn(tmp_path, workers=2, env=env, args=("--timeout", "25")) as server:
        server.wait_for_workers(seconds=60)
        assert until(lambda: peek.duty(server), 60), server.log
        (keeper,) = peek.duty(server)
        psutil.Process(keeper).suspend()

        def is_told() -> bool:
            said = server.get("/health").json()
            alerts = server.get("/api/metrics").json()["alerts"]
            return said["status"] == "degraded" and "collector" in {each["id"] for each in alerts}

        assert until(is_told, 60), server.log
        # It is over: whoever is the keeper now has noticed it, and tells.
        assert until(lambda: peek.duty(server) - {keeper}, 60), server.log
        assert until(lambda: "Alert OtelmonCollectorStale raised" in server.log, 60), server.log
        assert f"WORKER TIMEOUT (pid:{keeper})" in server.log
