"""What libraries measure that know nothing of otelmon is exact over all workers."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.gunicorn_server import Gunicorn
from tests.http_upstream import http_upstream
from tests.redis_server import redis_server
from tests.scrapes import Samples, samples
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def counted(found: Samples, name: str, *labels: str) -> float:
    """Add up the samples of a name that have all of these labels."""
    return sum(
        value
        for key, value in found.items()
        if key.partition("{")[0] == name and all(label in key for label in labels)
    )


def four_idle(server: Gunicorn) -> Callable[[], bool]:
    """Return whether four workers serve and none is busy."""

    def check() -> bool:
        answer = server.try_ops("/api/metrics")
        said = answer.json() if answer is not None else {"workers": {"total": 0}}
        return said["workers"]["total"] == 4 and not said["application"]["active_connections"]

    return check


def visit(server: Gunicorn, times: int) -> None:
    """Ask for pages, from four clients at once."""
    with ThreadPoolExecutor(4) as clients:
        answers = clients.map(lambda n: server.get(f"/page/{n}", timeout=60), range(times))
        assert {answer.status for answer in answers} == {200}


def kill_one(server: Gunicorn) -> None:
    """Kill -9 a worker, and wait for its successor."""
    victim = server.workers()[0]
    victim.kill()
    # The dead one's slot may still count as served for a moment.
    assert until(lambda: victim not in server.workers() and len(server.workers()) == 4), server.log
    assert until(four_idle(server)), server.log


def reload(server: Gunicorn) -> None:
    """Replace all workers."""
    before = set(server.workers())
    server.signal(signal.SIGHUP)
    assert until(lambda: before.isdisjoint(server.workers())), server.log
    assert until(four_idle(server)), server.log


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_redis_and_requests_measure_themselves(tmp_path: Path, *, preload: bool) -> None:
    """Commands and outgoing requests of all workers are counted through kill -9 and HUP.

    What otelmon measures of redis-py by itself stands beside, and is told apart.
    """
    with redis_server(tmp_path) as store, http_upstream() as upstream:
        env = {"STORE": store, "UPSTREAM": upstream, "OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
        app = "tests.apps.with_libraries:app"
        with Gunicorn(tmp_path, app=app, env=env, preload=preload) as server:
            server.wait_for_workers(seconds=60)
            visit(server, 60)
            assert until(four_idle(server)), server.log
            kill_one(server)
            visit(server, 20)
            assert until(four_idle(server)), server.log
            reload(server)
            visit(server, 20)
            # Each worker says at its beat how many are in use.
            assert until(lambda: in_use(server) == 0), server.log
            for answer in (server.get("/metrics"), server.ops("/metrics")):
                judge(samples(answer.text))
            # Our own is asked for.
            assert until(lambda: 1 <= connections(server) <= 4, 30)
            told(server.ops("/api/metrics").json())


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_what_is_switched_on_is_of_all_workers(tmp_path: Path, *, preload: bool) -> None:
    """Outgoing requests, tasks of pools and logged exceptions are exact through a kill."""
    with http_upstream() as upstream:
        app = "tests.apps.observed_work:app"
        with Gunicorn(tmp_path, app=app, env={"UPSTREAM": upstream}, preload=preload) as server:
            server.wait_for_workers(seconds=60)
            visit(server, 40)
            assert until(four_idle(server)), server.log
            kill_one(server)
            visit(server, 20)
            for answer in (server.get("/metrics"), server.ops("/metrics")):
                found = samples(answer.text)
                sent = "http_client_request_duration_seconds_count"
                assert counted(found, sent, 'server_address="127.0.0.1"') == 60
                tasks = "otelmon_executor_task_duration_seconds_count"
                assert counted(found, tasks, 'otelmon_queue_name="mails"') == 60
                errors = "otelmon_log_exceptions_total"
                assert counted(found, errors, 'error_type="KeyError"') == 60, answer.text


def in_use(server: Gunicorn) -> float:
    """Return how many connections to Redis are in use."""
    return counted(samples(server.ops("/metrics").text), "app_redis_connections")


def judge(found: Samples) -> None:
    """Check what a scrape says of a hundred requests."""
    theirs = 'otel_scope_name="redis-py"'
    commands = "db_client_operation_duration_seconds_count"
    for command in ("INCRBY", "GET"):
        name = f'db_operation_name="{command}"'
        assert counted(found, commands, name, theirs) == 100
        # And once more by otelmon, which is told apart.
        assert counted(found, commands, name) == 200
    sent = "http_client_request_duration_seconds_count"
    assert counted(found, sent, 'http_response_status_code="200"') == 100
    # Those of dead workers are gone.
    assert 1 <= counted(found, "db_client_connection_count", theirs) <= 4
    assert counted(found, "app_cache_misses_total") == 100


def connections(server: Gunicorn) -> int:
    """Return how many connections to Redis otelmon knows."""
    found = server.ops("/api/metrics").json()["redis"]
    pools = found["pools"].values() if found is not None else ()
    return sum(pool["used"] + pool["idle"] for pool in pools)


def told(said: dict[str, Any]) -> None:
    """Check what the JSON says of them: whoever measures is named, and nothing failed."""
    found = {
        each["scope"]["name"]: sum(point["count"] for point in each["points"])
        for each in said["metrics"]
        if each["name"] == "db.client.operation.duration"
    }
    assert found == {"redis-py": 200, "otelmon.instruments": 200}
    assert said["caches"]["redis"] == {"hits": 0, "misses": 100, "hit_rate": 0.0}
    assert said["otelmon"]["faults"] == {}
