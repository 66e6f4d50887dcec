"""What the endpoints say of health checks."""

from __future__ import annotations

import json
import time
from typing import Any, Final

import pytest

from otelmon.checks.results import Result, Results
from tests.endpoints import get, ops, scrape, settings
from tests.sources import ask


DRAFT: Final = "application/health+json"
AT: Final = 1_768_204_800.25
TOKEN: Final = "a-token"


def checks(*found: dict[str, Any]) -> Results:
    """Return results of now, each with what is given."""
    fields: dict[str, Any] = {
        "name": "database",
        "critical": False,
        "readiness": False,
        "status": "up",
        "latency_ms": 1.84321,
        "at": AT,
        "monotonic": time.monotonic_ns(),
        "since": AT - 60,
    }
    return Results(15.0, tuple(Result(**{**fields, **each}) for each in found))


UP: Final[dict[str, Any]] = {}
DOWN: Final = {"status": "down", "error": "OperationalError"}
CRITICAL: Final = {**DOWN, "critical": True}


def test_services_tell_what_checks_came_to() -> None:
    """`services` has state, time, age and the class of the error; a result of now is of now."""
    service = get("/health", ops(checked=checks(DOWN)))["services"]["database"]

    assert 0 <= service.pop("age_seconds") < 60
    assert service == {
        "status": "down",
        "critical": False,
        "readiness": False,
        "latency_ms": 1.843,
        "checked_at": "2026-01-12T08:00:00.250Z",
        "since": "2026-01-12T07:59:00.250Z",
        "error": "OperationalError",
    }


@pytest.mark.parametrize(
    ("found", "status", "code"),
    [
        (UP, "healthy", 200),
        (DOWN, "degraded", 200),
        ({"critical": True, "monotonic": 0}, "degraded", 200),
        (CRITICAL, "unhealthy", 503),
    ],
)
def test_only_a_critical_check_that_is_down_is_503(
    found: dict[str, Any], status: str, code: int
) -> None:
    """/health follows the checks; /api/metrics/health says the same and is 200 all the time."""
    app = ops(checked=checks(found))
    health = ask(app, "/health")

    assert (health.status, json.loads(health.body)["status"]) == (code, status)
    assert get("/api/metrics/health", app)["status"] == status


def test_a_stranger_learns_the_status_and_its_code_only() -> None:
    """With a token, who does not send it sees 503 and no name of a check."""
    app = ops(settings=settings(token=TOKEN), checked=checks(CRITICAL))
    plain, draft = ask(app, "/health"), ask(app, "/health", HTTP_ACCEPT=DRAFT)

    assert (plain.status, draft.status) == (503, 503)
    assert set(json.loads(plain.body)) == {"status", "timestamp"}
    assert json.loads(draft.body) == {"status": "fail"}


@pytest.mark.parametrize(
    ("found", "status", "measured"),
    [
        (UP, "pass", "pass"),
        (DOWN, "warn", "warn"),
        ({"monotonic": 0}, "warn", "warn"),
        (CRITICAL, "fail", "fail"),
    ],
)
def test_the_draft_of_health_json_is_spoken_when_asked_for(
    found: dict[str, Any], status: str, measured: str
) -> None:
    """By Accept /health is the draft's object, with its words; what warns is not 5xx."""
    answer = ask(ops(checked=checks(found)), "/health", HTTP_ACCEPT=f"{DRAFT}, */*;q=0.1")
    said = json.loads(answer.body)

    assert answer.headers["Content-Type"] == DRAFT
    assert answer.headers["Vary"] == "Accept"
    assert (answer.status == 503) == (status == "fail")
    assert (said["status"], said["releaseId"]) == (status, "1.0.0")
    (measurement,) = said["checks"]["database:responseTime"]
    assert measurement.pop("output", None) == found.get("error")
    assert measurement == {
        "status": measured,
        "time": "2026-01-12T08:00:00.250Z",
        "observedValue": 1.843,
        "observedUnit": "ms",
    }


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/json",
        "application/*",
        f"{DRAFT};q=0.5, application/json",
        f"{DRAFT};q=0",
    ],
)
def test_everybody_else_gets_the_usual_object(accept: str) -> None:
    """Who does not name the draft's type, or likes plain JSON better, gets that."""
    answer = ask(ops(), "/health", HTTP_ACCEPT=accept)

    assert answer.headers["Content-Type"] == "application/json"
    assert "monitoring" in json.loads(answer.body)


@pytest.mark.parametrize(
    ("found", "code", "waits"),
    [
        ({**DOWN, "readiness": True}, 503, ["database"]),
        ({"readiness": True}, 200, []),
        (CRITICAL, 200, []),
        ({"readiness": True, "status": "unknown", "monotonic": None}, 503, ["database"]),
    ],
)
def test_checks_for_readiness_count_for_readyz(
    found: dict[str, Any], code: int, waits: list[str]
) -> None:
    """Others do not; ?verbose names those that it waits for, and /livez knows of none."""
    app = ops(checked=checks(found))
    plain, verbose = ask(app, "/readyz"), ask(app, "/readyz", QUERY_STRING="verbose")

    assert (plain.status, verbose.status, ask(app, "/livez").status) == (code, code, 200)
    word = "ok" if code == 200 else "not ready"
    assert json.loads(plain.body) == {"status": word}
    assert json.loads(verbose.body) == {"status": word, "not_ready": waits}


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_checks_are_series(accept: str) -> None:
    """Prometheus sees which are up; of what is not known there is no sample, nor a family."""
    found = checks(UP, {**CRITICAL, "name": "queue"}, {"name": "old", "monotonic": 0})
    text = scrape(ops(checked=found), accept).body.decode()
    lines = [line for line in text.splitlines() if line.startswith("otelmon_check_up")]

    assert lines == [
        'otelmon_check_up{check="database",critical="false"} 1',
        'otelmon_check_up{check="queue",critical="true"} 0',
    ]
    assert "# TYPE otelmon_check_up gauge" in text
    assert "otelmon_check_up" not in scrape(ops(), accept).body.decode()
