"""What libraries measure that know nothing of otelmon is exact over all workers."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

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
    assert until(lambda: victim not in server.workers()), server.log
    assert until(four_idle(server)), server.log


def reload(server: Gunicorn) -> None:
    """Replace all workers."""
    before = set(server.workers())
    server.signal(signal.SIGHUP)
    assert until(lambda: before.isdisjoint(server.workers())), server.log
    assert until(four_idle(server)), server.log


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_redis_and_requests_measure_themselves(tmp_path: Path, *, preload: bool) -> None:
    """Commands and outgoing requests of all workers are counted through kill -9 and HUP."""
    with redis_server(tmp_path) as store, http_upstream() as upstream:
        env = {"STORE": store, "UPSTREAM": upstream, "OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
        # Redis-py's own figures are looked at here.
        env["OTELMON_LIBRARIES_OFF"] = "redis"
        app = "tests.apps.with_libraries:app"
        with Gunicorn(tmp_path, app=app, env=env, preload=preload) as server:
            server.wait_for_workers()
            visit(server, 60)
            assert until(four_idle(server)), server.log
            kill_one(server)
            visit(server, 20)
            assert until(four_idle(server)), server.log
            reload(server)
            visit(server, 20)
            for answer in (server.get("/metrics"), server.ops("/metrics")):
                judge(samples(answer.text))


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_what_is_switched_on_is_of_all_workers(tmp_path: Path, *, preload: bool) -> None:
    """Outgoing requests, tasks of pools and logged exceptions are exact through a kill."""
    with http_upstream() as upstream:
        app = "tests.apps.observed_work:app"
        with Gunicorn(tmp_path, app=app, env={"UPSTREAM": upstream}, preload=preload) as server:
            server.wait_for_workers()
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


def judge(found: Samples) -> None:
    """Check what a scrape says of a hundred requests."""
    commands = "db_client_operation_duration_seconds_count"
    assert counted(found, commands, 'db_operation_name="INCRBY"') == 100
    assert counted(found, commands, 'db_operation_name="GET"') == 100
    sent = "http_client_request_duration_seconds_count"
    assert counted(found, sent, 'http_response_status_code="200"') == 100
    # Those of dead workers are gone.
    assert 1 <= counted(found, "db_client_connection_count") <= 4
