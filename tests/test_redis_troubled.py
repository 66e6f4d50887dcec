"""Four workers with a rate limit, sessions, a query cache and a client in one Redis that fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.gunicorn_server import Gunicorn
from tests.hammering import hammer
from tests.redis_server import RedisServer
from tests.scrapes import samples
from tests.visitor import Visitor
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gunicorn_server import Answer


SECONDS: Final = 60
WORKERS: Final = 4
PARTS: Final = 4
"""The client, the query cache, the sessions and the rate limit: each has a breaker"""
FAILURES: Final = {"TimeoutError", "ConnectionError", "BreakerOpenError"}


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as store:
        yield store


@pytest.fixture(name="site")
def _site(store: RedisServer, tmp_path: Path) -> Iterator[Gunicorn]:
    env = {
        "REDIS_URL": store.url,
        "OTEL_SERVICE_NAME": "shop",
        "TRUSTED_PROXIES": "1",
        "RATE_LIMIT": "100000/hour",
        "SESSION_SECRET": "a secret of the tests; made up",
        "MONITORING_INTERVAL": "1",
        "HEALTH_CHECK_INTERVAL": "1",
        # Of this machine, and of what is broken on purpose.
        **{f"ALERT_{what}_THRESHOLD": "off" for what in ("CPU", "MEMORY", "DISK")},
        **{f"ALERT_{what}_THRESHOLD": "off" for what in ("RESPONSE_TIME", "CACHE_HIT_RATE")},
    }
    with Gunicorn(
        tmp_path,
        app="tests.apps.all_in_redis:app",
        workers=WORKERS,
        worker_class="gthread",
        args=("--threads", "4"),
        env=env,
    ) as server:
        server.wait_for_workers(seconds=SECONDS)
        assert until(lambda: told(server, "healthy", "up", "closed"), SECONDS), server.log
        yield server


# -- asking --------------------------------------------------------------------------------------


def work(server: Gunicorn, times: int = 16, cookie: str = "") -> list[dict[str, Any]]:
    """Have that many requests use everything, eight at once; each must be answered."""

    def ask(number: int) -> Answer:
        return server.get(f"/use/{number % 4}", headers={"Cookie": cookie})

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(ask, range(times)))
    assert {answer.status for answer in answers} == {200}, server.log
    return [answer.json() for answer in answers]


def from_each(server: Gunicorn, path: str) -> list[Any]:
    """Return what each worker answers on the application's port."""
    found: dict[str, Any] = {}

    def all_have() -> bool:
        answer = server.get(path)
        found[answer.headers["X-Pid"]] = answer.json()
        return len(found) == WORKERS

    assert until(all_have, SECONDS), server.log
    return list(found.values())


def told(server: Gunicorn, status: str, check: str, breakers: str) -> bool:
    """Tell if every worker says so of the whole, of the check and of all breakers everywhere."""
    work(server)
    healths, figures = from_each(server, "/health"), from_each(server, "/api/metrics")
    states = [(each["redis"] or {"breakers": {}})["breakers"] for each in figures]
    return (
        {(each["status"], each["services"]["redis"]["status"]) for each in healths}
        == {(status, check)}
    ) and all(
        len(state) == PARTS and {each[breakers] for each in state.values()} == {WORKERS}
        for state in states
    )


def is_exact(server: Gunicorn, store: RedisServer, address: str) -> None:
    """Prove that limit, client and cache count to the last one, over all workers."""
    behind = {"X-Forwarded-For": address}
    passed = hammer(server.port, times=60, path="/exact", headers=behind)
    assert passed == {200: 20, 429: 40}
    with store.client() as control:
        before = int(control.get("counted") or 0)
    found = work(server, 40)
    assert sorted(each["counted"] for each in found) == list(range(before + 1, before + 41))
    assert {(each["available"], each["seen"], each["made"]) for each in found} == {(True, 1, 0)}


def visits(visitor: Visitor, times: int = 12) -> list[int]:
    """Return how often a session was seen, at each of so many visits."""
    return [visitor.get("/use/0").json()["seen"] for _ in range(times)]


def unchecked(server: Gunicorn) -> float:
    """Return how many requests have passed because the limit could not be asked."""
    found = samples(server.ops("/metrics", timeout=SECONDS).text)
    return sum(
        value
        for key, value in found.items()
        if key.startswith("otelmon_rate_limit_requests_total{") and '"unchecked"' in key
    )


def fails_open(server: Gunicorn, visitor: Visitor) -> int:
    """Prove that requests pass, without what Redis would have given; return how many they were."""
    ((name, value),) = visitor.cookies.items()
    for each in work(server, cookie=f"{name}={value}"):
        assert each["counted"] in FAILURES
        assert (each["available"], each["seen"]) == (False, 1)
        assert (each["value"]["key"] in "0123", each["made"]) == (True, 1)
    assert hammer(server.port, times=60, path="/exact") == {200: 60}
    return 16 + 60


# -- what fails ----------------------------------------------------------------------------------


@pytest.mark.serial  # a Redis that is given no time within its deadline is one that failed
def test_a_redis_that_hangs_is_left_alone_and_taken_back(
    site: Gunicorn, store: RedisServer
) -> None:
    """No request waits as long as one call of redis-py by itself; breakers open and close in each
    worker, as each worker tells; then all is exact, and the session as it was."""
    is_exact(site, store, "203.0.113.1")
    visitor = Visitor(site.port)
    assert visits(visitor) == list(range(1, 13))
    before = unchecked(site)
    with ThreadPoolExecutor(1) as patient:
        store.hang()
        try:
            waiting = patient.submit(site.get, "/patient", timeout=SECONDS)
            passed = fails_open(site, visitor)
            # All of these have come and gone while a client without our deadlines waits.
            assert not waiting.done()
            assert until(lambda: unchecked(site) == before + passed + 1, SECONDS)
            assert until(lambda: told(site, "degraded", "down", "open"), SECONDS), site.log
        finally:
            store.go_on()
    assert until(lambda: told(site, "healthy", "up", "closed"), SECONDS), site.log
    is_exact(site, store, "203.0.113.2")
    assert visits(visitor) == list(range(13, 25))


@pytest.mark.serial  # as above
def test_a_redis_that_dies_comes_back_empty(site: Gunicorn, store: RedisServer) -> None:
    """Killed and started again it has neither scripts nor sessions, and everything works as at first."""
    is_exact(site, store, "203.0.113.1")
    visitor = Visitor(site.port)
    assert visits(visitor) == list(range(1, 13))
    before = unchecked(site)
    store.kill()
    try:
        passed = fails_open(site, visitor)
        assert until(lambda: unchecked(site) == before + passed, SECONDS)
        assert until(lambda: told(site, "degraded", "down", "open"), SECONDS), site.log
    finally:
        store.start()
    assert until(lambda: told(site, "healthy", "up", "closed"), SECONDS), site.log
    # The client that had spent its hour's requests has them all again: nothing was kept.
    is_exact(site, store, "203.0.113.1")
    assert visits(visitor) == list(range(1, 13))
