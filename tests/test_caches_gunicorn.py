"""Stock applications over four workers: Redis and caches, against what the server says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.gunicorn_server import Gunicorn
from tests.redis_server import RedisServer
from tests.scrapes import samples
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis


SECONDS = 60


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory: Any) -> Iterator[RedisServer]:  # noqa: ANN401 - pytest's
    with RedisServer(tmp_path_factory.mktemp("redis")) as store:
        yield store


def started(directory: Path, app: str, store: RedisServer) -> Gunicorn:
    """Return a server that samples every second."""
    env = {"STORE": store.url, "MONITORING_INTERVAL": "1"}
    # As many threads as there are ever requests that wait: one worker may take all of them.
    return Gunicorn(directory, app=f"tests.apps.{app}:app", env=env, args=("--threads", "4"))


def sampled(server: Gunicorn) -> None:
    """Wait for all workers and the first sample, with which the windows begin."""
    server.wait_for_workers(seconds=SECONDS)
    assert until(lambda: shown(server)["windows"]["60"]["seconds"], SECONDS), server.log


@pytest.fixture(name="flask", scope="module")
def _flask(store: RedisServer, tmp_path_factory: Any) -> Iterator[Gunicorn]:  # noqa: ANN401 - as above
    with started(tmp_path_factory.mktemp("flask"), "flask_cached", store) as server:
        sampled(server)
        yield server


def shown(server: Gunicorn) -> Any:  # noqa: ANN401 - parsed JSON
    """Return all figures."""
    return server.ops("/api/metrics").json()


def visit(server: Gunicorn, *paths: str) -> None:
    """Ask for pages, from four clients at once."""
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda path: server.get(path, timeout=SECONDS), paths))
    assert {answer.status for answer in answers} == {200}, server.log


def keyspace(store: RedisServer) -> tuple[int, int]:
    """Return how many keys the server has found and not found."""
    with store.client() as client:
        said: Any = client.info("stats")
    return said["keyspace_hits"], said["keyspace_misses"]


def counted(server: Gunicorn, cache: str) -> tuple[int, int]:
    """Return the hits and misses that are shown of a cache."""
    found = shown(server)["caches"].get(cache, {"hits": 0, "misses": 0})
    return found["hits"], found["misses"]


def commands(server: Gunicorn) -> dict[str, int]:
    """Return how often each command was answered, all workers together."""
    found: dict[str, int] = {}
    wanted = ("db.client.operation.duration", "otelmon.redis.pipeline.commands")
    for metric in shown(server)["metrics"]:
        if metric["name"] in wanted and metric["scope"]["name"] == "otelmon.instruments":
            for point in metric["points"]:
                name = point["attributes"]["db.operation.name"]
                found[name] = found.get(name, 0) + point.get("count", point.get("value"))
    return found


def test_no_line_but_monitor_shows_flask_cachings_look_ups(
    flask: Gunicorn, store: RedisServer
) -> None:
    """Hits and misses of cached pages over four workers are those that Redis has counted."""
    store.reset()
    before = counted(flask, "RedisCache")
    visit(flask, *(f"/page/{number % 10}" for number in range(80)))
    hits, misses = keyspace(store)
    assert hits + misses == 80

    wanted = (before[0] + hits, before[1] + misses)
    assert until(lambda: counted(flask, "RedisCache") == wanted), shown(flask)["caches"]


def test_commands_of_all_workers_are_those_of_commandstats(
    flask: Gunicorn, store: RedisServer
) -> None:
    """Of every command the workers together have counted as many as the server."""
    store.reset()
    before = commands(flask)
    asked = sum(counted(flask, "queries"))
    visit(flask, *(f"/raw/k{number % 3}" for number in range(40)))
    visit(flask, *(f"/query/q{number % 3}" for number in range(40)))
    beside = ("HELLO", "CLIENT", "MULTI", "EXEC", "PING", "INFO", "CONFIG", "FLUSHALL", "SELECT")
    # Inside of a script, commands are counted by the server and sent by nobody.
    told = {name: n for name, n in store.calls().items() if name not in beside}

    def difference() -> dict[str, int]:
        now = commands(flask)
        return {name: n - before.get(name, 0) for name, n in now.items() if n != before.get(name)}

    assert difference()["MGET"] == told["MGET"] >= 40
    assert difference()["EVAL"] == told["EVAL"] >= 3
    assert difference()["GET"] == 40
    assert counted(flask, "redis")[1] >= 40
    assert sum(counted(flask, "queries")) - asked == 40


def others(control: redis.Redis) -> int:
    """Return how many clients the server has beside *control*."""
    found: Any = control.client_list()
    return len(found) - 1


def open_now(server: Gunicorn) -> int:
    """Return how many connections the workers say they have."""
    (pool,) = shown(server)["redis"]["pools"].values()
    return int(pool["used"] + pool["idle"])


def test_connections_in_use_are_those_of_all_workers(flask: Gunicorn, store: RedisServer) -> None:
    """Three requests that hold a connection are three in use, wherever they are; then there are none."""
    assert until(lambda: shown(flask)["application"]["redis_connections"] == 0, SECONDS)
    with ThreadPoolExecutor(3) as clients:
        waiting = [clients.submit(flask.get, "/hold", timeout=SECONDS) for _ in range(3)]
        with store.client() as control:

            def held() -> int:
                found: Any = control.client_list()
                return sum("b" in each["flags"] for each in found)

            try:
                assert until(lambda: held() == 3, SECONDS), (control.client_list(), flask.log)
                assert until(
                    lambda: shown(flask)["application"]["redis_connections"] == 3, SECONDS
                ), shown(flask)["redis"]
                assert until(lambda: open_now(flask) == others(control), SECONDS)
            finally:
                control.rpush("go", 1, 1, 1)
        assert {each.result().status for each in waiting} == {200}
    assert until(lambda: shown(flask)["application"]["redis_connections"] == 0, SECONDS)


def test_the_hit_rate_is_that_of_all_look_ups(flask: Gunicorn, store: RedisServer) -> None:
    """JSON, history and Prometheus text tell one and the same."""
    visit(flask, *(f"/page/{number % 10}" for number in range(20)))

    def rate() -> bool:
        now = shown(flask)
        each = now["caches"].values()
        hits, misses = (sum(row[name] for row in each) for name in ("hits", "misses"))
        return bool(now["application"]["cache_hit_rate"] == round(hits / (hits + misses), 3))

    assert until(rate, SECONDS), shown(flask)
    assert until(lambda: shown(flask)["application"]["redis_connections"] == 0, SECONDS)
    found = samples(flask.ops("/metrics", timeout=SECONDS).text)
    each = shown(flask)["caches"].values()
    assert found["app_cache_hits_total"] == sum(row["hits"] for row in each)
    assert found["app_cache_misses_total"] == sum(row["misses"] for row in each)
    assert found["app_redis_connections"] == 0
    history = flask.ops("/api/metrics/history?series=cache_hit_rate,redis_connections").json()
    assert history["series"]["cache_hit_rate"][-1] == shown(flask)["application"]["cache_hit_rate"]
    assert history["series"]["redis_connections"][-1] is not None


def test_a_redis_that_hangs_takes_no_request_with_it(flask: Gunicorn, store: RedisServer) -> None:
    """Cached queries and guarded commands go on; breakers open in each worker and close again."""
    store.hang()
    try:

        def all_open() -> bool:
            visit(flask, *["/guarded", "/query/q"] * 8)
            breakers = (shown(flask)["redis"] or {"breakers": {}})["breakers"]
            return bool(breakers) and all(each["open"] == 4 for each in breakers.values())

        assert until(all_open, SECONDS), shown(flask)["redis"]
    finally:
        store.go_on()

    def all_closed() -> bool:
        visit(flask, *["/guarded", "/query/q"] * 8)
        breakers = shown(flask)["redis"]["breakers"]
        return all(each["closed"] == 4 for each in breakers.values())

    assert until(all_closed, SECONDS), shown(flask)["redis"]


def test_no_line_but_monitor_shows_djangos_look_ups(store: RedisServer, tmp_path: Path) -> None:
    """Two look-ups a page, of a template's part and of the view: what is counted is all of them."""
    store.reset()
    with started(tmp_path, "django_cached", store) as server:
        sampled(server)
        assert shown(server)["application"]["cache_hit_rate"] is None
        visit(server, *(f"/page/{number % 5}" for number in range(60)))

        assert until(lambda: sum(counted(server, "django.default")) == 120), shown(server)["caches"]
        _, misses = counted(server, "django.default")
        # Four workers may each find a page missing before the first has kept it.
        assert 10 <= misses <= 40
        assert shown(server)["caches"].keys() == {"django.default"}
        assert until(
            lambda: shown(server)["application"]["cache_hit_rate"] == round(1 - misses / 120, 3),
            SECONDS,
        )
