"""Many processes that look for the same missing value: one makes it."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import QueryCache, redis_client
from otelmon.metrics import caches
from tests.counting import counted_caches  # noqa: F401 - a fixture
from tests.redis_server import empty_redis, running_redis  # noqa: F401 - fixtures
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.counting import Counting
    from tests.redis_server import RedisServer


PROCESSES = 8


def child(work: Callable[[], bool]) -> int:
    """Fork a child that does *work* and ends well if that is true."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = int(not work())
        finally:
            os._exit(code)
    return pid


def code_of(pid: int) -> int:
    """Wait for a child; return how it ended, negative by a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def patient(server: RedisServer, **options: Any) -> QueryCache:  # noqa: ANN401 - the cache's
    """Return a cache whose client bears with a busy machine."""
    client = redis_client(server.url, socket_timeout=20, socket_connect_timeout=20)
    return QueryCache("tests", client=client, **options)


def slow_creator(control: redis.Redis) -> Callable[[], str]:
    """Return a creator that says that it was called, and ends when the test lets it."""

    def create() -> str:
        control.incr("called")
        assert control.blpop("go", timeout=60)
        return f"made by {os.getpid()}"

    return create


def look_up(server: RedisServer, cache: QueryCache) -> bool:
    """Look for the value in a child, and report what came back."""
    with server.client() as control:
        control.incr("here")
        value = cache.get_or_create("k", slow_creator(control))
        control.rpush("got", value)
    return True


def test_of_eight_processes_one_makes_a_cold_value(server: RedisServer) -> None:
    """The creator runs once, and all get its value."""
    cache = patient(server, lock_timeout=60)
    with server.client(decode_responses=True) as control:
        children = [child(lambda: look_up(server, cache)) for _ in range(PROCESSES)]
        assert until(lambda: control.get("here") == str(PROCESSES), 30)
        assert until(lambda: control.get("called") == "1", 30)
        # Each of them has seen that it is missing, and asked for the right to make it.
        assert until(lambda: server.calls().get("MGET", 0) >= 2 * PROCESSES, 30)
        control.rpush("go", 1)
        assert [code_of(pid) for pid in children] == [0] * PROCESSES
        got = control.lrange("got", 0, -1)

        assert len(got) == PROCESSES
        assert len(set(got)) == 1, got
        assert control.get("called") == "1"


def test_when_its_maker_is_killed_another_takes_over(server: RedisServer) -> None:
    """Those that wait go on when the lock of the dead has run out; again one makes it."""
    cache = patient(server, lock_timeout=5)
    with server.client(decode_responses=True) as control:
        maker = child(lambda: look_up(server, cache))
        assert until(lambda: control.get("called") == "1", 30)
        waiting = [child(lambda: look_up(server, cache)) for _ in range(3)]
        os.kill(maker, signal.SIGKILL)
        assert code_of(maker) == -signal.SIGKILL
        # Those after it need not wait, so that no lock runs out while a busy machine lets this sleep.
        control.rpush("go", 1, 1, 1)
        assert [code_of(pid) for pid in waiting] == [0, 0, 0]

        assert control.lrange("got", 0, -1) != []
        assert len(set(control.lrange("got", 0, -1))) == 1
        assert control.get("called") == "2"


@pytest.mark.parametrize("where", ["redis", "memory"])
def test_an_old_value_is_shown_while_a_new_one_is_made(
    server: RedisServer, count: Counting, where: str
) -> None:
    """Who comes while another makes it gets the old one at once: a hit, stale, a stampede prevented."""
    cache = patient(server) if where == "redis" else QueryCache("tests")
    assert cache.get_or_create("k", lambda: "old", ttl=60) == "old"
    seen = []

    def creator() -> str:
        seen.append(cache.get_or_create("k", lambda: "never", ttl=1e-9))
        return "new"

    assert cache.get_or_create("k", creator, ttl=1e-9) == "new"
    assert seen == ["old"]
    shown = caches.caches(count.reading())
    assert shown is not None
    shown["tests"].pop("load_mean_ms")
    assert shown["tests"] == {
        "hits": 1,
        "misses": 2,
        "hit_rate": 0.333,
        "loads": 2,
        "stale": 1,
        "stampedes_prevented": 1,
        "errors": 0,
    }


@pytest.mark.parametrize("where", ["redis", "memory"])
def test_threads_wait_for_the_one_that_makes_it(
    server: RedisServer, count: Counting, where: str
) -> None:
    """Of eight threads one calls the creator; the others count as prevented."""
    cache = patient(server) if where == "redis" else QueryCache("tests")
    made, go = [], threading.Event()

    def creator() -> int:
        made.append(1)
        assert go.wait(30)
        return len(made)

    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(cache.get_or_create, "k", creator) for _ in range(8)]
        assert until(lambda: made)
        go.set()
        assert [each.result(30) for each in waiting] == [1] * 8
    shown = caches.caches(count.reading())
    assert shown is not None
    assert (shown["tests"]["hits"], shown["tests"]["misses"]) == (7, 1)
    assert shown["tests"]["stampedes_prevented"] <= 7


def test_who_takes_too_long_does_not_hold_up_the_others(server: RedisServer) -> None:
    """After the lock's time another makes the value, and so does who has waited that long."""
    cache = patient(server, lock_timeout=0.2)
    with server.client(decode_responses=True) as control:
        slow = child(lambda: look_up(server, cache))
        assert until(lambda: control.get("called") == "1", 30)
        assert cache.get_or_create("k", lambda: "quick") == "quick"
        control.rpush("go", 1)
        assert code_of(slow) == 0
        assert cache.get_or_create("k", lambda: "third") != "third"
