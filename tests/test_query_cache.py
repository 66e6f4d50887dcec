"""`QueryCache` in Redis and in memory: what comes back, when it is made, what is forgotten."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import ConfigError, QueryCache, faults, redis_client
from otelmon.caches import entries, stores
from otelmon.instruments.libraries import observe_libraries
from otelmon.instruments.lookups import OPERATIONS, RESULT
from otelmon.metrics import caches
from tests.counting import counted_caches, counting  # noqa: F401 - a fixture
from tests.redis_server import RedisServer, empty_redis, running_redis, running_valkey  # noqa: F401 - fixtures
from tests.tcp_proxy import TcpProxy
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.counting import Counting


PLACE = "otelmon:cache:unknown_service:tests"


def patient(server: RedisServer, **options: Any) -> QueryCache:  # noqa: ANN401 - the cache's
    """Return a cache that waits for a busy machine, and so keeps what it is to keep."""
    return QueryCache("tests", client=redis_client(server.patient_url), **options)


@pytest.fixture(name="make", params=["redis", "valkey", "memory"])
def _make(
    request: pytest.FixtureRequest, server: RedisServer, valkey: RedisServer
) -> Callable[..., QueryCache]:
    if request.param == "memory":
        return partial(QueryCache, "tests")
    valkey.reset()
    return partial(patient, server if request.param == "redis" else valkey)


class Maker:
    """A creator that counts how often it was called."""

    def __init__(self, *values: Any) -> None:  # noqa: ANN401 - anything
        """Return these one after the other, then the last one."""
        self.calls = 0
        self._values = values

    def __call__(self) -> Any:  # noqa: ANN401 - as above
        """Return the next."""
        self.calls += 1
        value = self._values[min(self.calls, len(self._values)) - 1]
        if isinstance(value, Exception):
            raise value
        return value


def figures(count: Counting) -> dict[str, Any]:
    """Return what is shown of the cache."""
    shown = caches.caches(count.reading())
    assert shown is not None
    return shown["tests"]


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, 0, "", [], {"a": [1, 2.5, "é\ud800", True]}, "x" * 100_000]
)
def test_what_was_made_comes_back(make: Callable[..., QueryCache], value: object) -> None:
    """A value is made once, None and what is empty too; the second time nobody makes it."""
    cache, maker = make(), Maker(value, "another")

    assert cache.get_or_create("k", maker) == value
    assert cache.get_or_create("k", maker) == value
    assert maker.calls == 1


def test_a_miss_returns_what_a_hit_does(make: Callable[..., QueryCache]) -> None:
    """Tuples are lists and keys are texts from the first time on; no caller shares another's value."""
    cache = make()
    first = cache.get_or_create("k", Maker({1: (2, 3)}))
    first["changed"] = True
    second = cache.get_or_create("k", Maker("another"))

    assert (first, second) == ({"1": [2, 3], "changed": True}, {"1": [2, 3]})


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"bytes"])
def test_what_json_cannot_hold_is_returned_and_not_kept(
    make: Callable[..., QueryCache], count: Counting, value: object
) -> None:
    """It comes back as it is, each time anew, and is reported."""
    cache, maker = make(), Maker(value)

    assert cache.get_or_create("k", maker) is value
    assert cache.get_or_create("k", maker) is value
    assert maker.calls == 2
    assert set(faults.seen()) == {"query_cache_value"}
    assert figures(count)["errors"] == 2
    faults.forget()


def test_what_the_creator_raises_is_the_callers(
    make: Callable[..., QueryCache], count: Counting
) -> None:
    """It goes through, is not kept, and the next one may make it at once."""
    cache, maker = make(lock_timeout=600), Maker(KeyError("gone"), "made")
    with pytest.raises(KeyError, match="gone"):
        cache.get_or_create("k", maker)

    assert cache.get_or_create("k", maker) == "made"
    assert figures(count)["misses"] == 2
    loads = count.by("otelmon.cache.load.duration", "error.type")
    assert loads == {"KeyError": 1, None: 1}


def test_a_value_grows_old(make: Callable[..., QueryCache]) -> None:
    """After its seconds a value is made anew."""
    cache, maker = make(), Maker(*range(1000))

    assert cache.get_or_create("k", maker, ttl=0.2) == 0
    assert until(lambda: cache.get_or_create("k", maker, ttl=0.2) >= 1)


def test_three_hundred_seconds_unless_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """QUERY_CACHE_TTL says how long; what is given in code goes before."""
    assert QueryCache().ttl == 300
    monkeypatch.setenv("QUERY_CACHE_TTL", "60")
    assert QueryCache().ttl == 60
    assert QueryCache(ttl=5).ttl == 5


def test_it_expires_in_redis_too(server: RedisServer) -> None:
    """Nothing of it stays there for ever."""
    patient(server, ttl=50).get_or_create("k", Maker(1), namespace="n")
    with server.client() as client:
        lives = [client.ttl(key) for key in client.scan_iter()]
    assert len(lives) == 2
    assert all(0 < each <= 100 for each in lives), lives


# -- forgetting -----------------------------------------------------------------------------------


def test_a_key_is_forgotten(make: Callable[..., QueryCache]) -> None:
    """It alone, in its namespace alone."""
    cache, maker = make(), Maker(*range(100))
    for key, namespace in (("a", ""), ("b", ""), ("a", "n")):
        cache.get_or_create(key, maker, namespace=namespace)

    assert cache.invalidate("a")
    assert cache.get_or_create("b", maker) == 1
    assert cache.get_or_create("a", maker, namespace="n") == 2
    assert cache.get_or_create("a", maker) == 3


def test_a_namespace_is_forgotten(make: Callable[..., QueryCache]) -> None:
    """All that is in it and nothing else, whatever the names look like."""
    cache, maker = make(), Maker(*range(100))
    names = ["", "n", "nn", "n:", "n\x00"]
    before = {n: [cache.get_or_create(key, maker, namespace=n) for key in "ab"] for n in names}
    assert cache.invalidate_namespace("n")
    after = {n: [cache.get_or_create(key, maker, namespace=n) for key in "ab"] for n in names}

    assert after.pop("n") == [10, 11]
    del before["n"]
    assert after == before


@pytest.mark.parametrize("how", ["key", "namespace"])
def test_what_is_made_of_old_data_is_not_kept(make: Callable[..., QueryCache], how: str) -> None:
    """A value that was being made when it was invalidated is returned, and forgotten."""
    cache = make()

    def creator() -> str:
        assert cache.invalidate("k") if how == "key" else cache.invalidate_namespace()
        return "old"

    cache.get_or_create("other", Maker(1))
    assert cache.get_or_create("k", creator) == "old"
    assert cache.get_or_create("k", Maker("new")) == "new"
    assert cache.get_or_create("k", Maker("newer")) == "new"


def test_a_namespaces_state_that_is_lost_revives_nothing(server: RedisServer) -> None:
    """Where Redis throws out the state for want of room, its values are forgotten, not shown again."""
    cache = patient(server)
    cache.get_or_create("k", Maker("first"))
    cache.invalidate_namespace()
    with server.client() as client:
        assert client.delete(entries.state_key(PLACE, "")) == 1

    assert cache.get_or_create("k", Maker("second")) == "second"


# -- figures --------------------------------------------------------------------------------------


def test_a_hit_means_that_the_creator_was_not_called(
    make: Callable[..., QueryCache], count: Counting
) -> None:
    """Hits and misses are exactly that; what the creator looks up elsewhere is counted there."""
    inner = QueryCache("inner")

    def creator() -> int:
        return inner.get_or_create("i", lambda: 1)

    cache = make()
    for key in ("a", "b", "a", "a"):
        cache.get_or_create(key, creator)

    shown = caches.caches(count.reading())
    assert shown is not None
    assert shown.keys() == {"tests", "inner"}
    assert (shown["tests"]["hits"], shown["tests"]["misses"]) == (2, 2)
    assert (shown["inner"]["hits"], shown["inner"]["misses"]) == (1, 1)
    assert shown["tests"]["hit_rate"] == 0.5
    assert (shown["tests"]["loads"], shown["tests"]["errors"], shown["tests"]["stale"]) == (2, 0, 0)
    assert count.by(OPERATIONS, RESULT, otelmon_cache_name="redis") == {}


# -- what is poisoned -----------------------------------------------------------------------------


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        """Make this file."""
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Say how it is put together again."""
        return os.system, (f"touch {self._path}",)


def _poison(path: Path, state: str) -> dict[str, bytes]:
    entry = {"v": 1, "at": 1.0, "state": state, "value": "evil"}
    broken = [
        {},
        [],
        "text",
        7,
        None,
        {**entry, "v": 2},
        {**entry, "at": "1"},
        {**entry, "at": True},
    ]
    broken += [{**entry, "at": 1e300}, {**entry, "at": -1.0}, {**entry, "state": None}]
    broken += [{key: value for key, value in entry.items() if key != left} for left in entry]
    found = {json.dumps(each): json.dumps(each).encode() for each in broken}
    return found | {
        "pickle": pickle.dumps(Trap(path)),
        "pickle after a json": b'{"ct": 1, "v": 1}|' + pickle.dumps(Trap(path)),
        "nothing": b"",
        "cut": json.dumps(entry).encode()[:-5],
        "no utf-8": b"\xff\xfe\x00",
        "deep": b"[" * 100_000,
        "long number": b'{"v": 1, "at": 1' + b"0" * 10_000 + b"}",
        "nan": json.dumps(entry).replace("1.0", "NaN").encode(),
        "another state": json.dumps({**entry, "state": "x", "at": time.time_ns() / 1e9}).encode(),
    }


def test_a_poisoned_value_is_a_miss_and_never_code(server: RedisServer, tmp_path: Path) -> None:
    """A pickle, a broken JSON or another type is not run, not shown, not raised; it is replaced."""
    cache, path = patient(server), tmp_path / "run"
    place = entries.place(PLACE, "", "k")
    cache.get_or_create("k", Maker("good"))
    with server.client() as client:
        state = client.get(place.namespace)
        assert isinstance(state, bytes)
        for name, poison in _poison(path, state.decode()).items():
            client.set(place.value, poison)
            assert cache.get_or_create("k", Maker("good")) == "good", name
            assert cache.get_or_create("k", Maker("again")) == "good", name
        for put in (client.lpush, client.sadd, client.append):
            client.delete(place.value)
            put(place.value, "evil")
            assert cache.get_or_create("k", Maker("good")) == "good"
    assert not path.exists()
    # That the trap works.
    program = f"import pickle; pickle.loads({pickle.dumps(Trap(path))!r})"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert path.exists()


def test_poison_beside_the_value_fails_open(server: RedisServer) -> None:
    """Other types where the state and the lock lie are no values and no errors of the application."""
    cache = patient(server, lock_timeout=0.2)
    place = entries.place(PLACE, "", "k")
    for key in (place.namespace, place.lock):
        with server.client() as client:
            client.flushall()
            client.lpush(key, "evil")
        assert cache.get_or_create("k", Maker("good")) == "good"


# -- memory ---------------------------------------------------------------------------------------


def test_memory_is_bounded(count: Counting) -> None:
    """However many values and namespaces there are; the one that was asked for last stays."""
    cache = QueryCache("tests", max_bytes=50_000)
    store = cache._store
    assert isinstance(store, stores.MemoryStore)
    for number in range(2000):
        cache.get_or_create(f"k{number}", Maker("x" * 100), namespace=f"n{number % 50}")
        cache.get_or_create("kept", Maker("kept"))
    assert store._kept.currsize <= 50_000
    assert 50 < len(store) < 200
    assert cache.get_or_create("kept", Maker("lost")) == "kept"
    assert cache.get_or_create("huge", Maker("x" * 60_000)) == "x" * 60_000
    assert cache.get_or_create("huge", Maker("again")) == "again"


def test_memory_of_a_forked_child_is_its_own() -> None:
    """A child that is forked while another thread holds the lock begins empty, and does not hang."""
    cache = QueryCache("tests")
    store = cache._store
    assert isinstance(store, stores.MemoryStore)
    cache.get_or_create("k", Maker("parent"))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store._lock:
            held.set()
            done.wait(60)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(hold)
        assert held.wait(60)
        pid = os.fork()
        if pid == 0:
            os._exit(int(cache.get_or_create("k", Maker("child")) != "child"))
        done.set()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# -- a Redis that fails ---------------------------------------------------------------------------


def warmed(proxy: TcpProxy) -> QueryCache:
    """Return a cache with the usual deadlines that is connected, and has a value in Redis."""
    cache = QueryCache("tests", url=f"redis://127.0.0.1:{proxy.port}/0")

    def connected() -> bool:
        # On a busy machine an answer may come too late, which ends the connection.
        cache.get_or_create("k", Maker("kept"))
        return bool(cache.get_or_create("k", Maker("again")) == "kept")

    assert until(connected)
    faults.forget()
    return cache


def test_a_hung_redis_costs_one_question(server: RedisServer, count: Counting) -> None:
    """It is asked once in a look-up, then the creator's value is returned; an open breaker asks none."""
    with TcpProxy(server.port) as proxy:
        cache = warmed(proxy)
        errors = figures(count)["errors"]
        asked = proxy.asked
        proxy.swallow()
        for number in range(1, 6):
            assert cache.get_or_create("k", Maker("made")) == "made"
            # The proxy's threads may count later than the answer is given up.
            assert until(lambda: proxy.asked == asked + number)  # noqa: B023
        asked = proxy.asked
        assert cache.get_or_create("k", Maker("made")) == "made"
        assert not cache.invalidate("k")
        assert proxy.asked == asked
        assert figures(count)["errors"] - errors == 7
        assert set(faults.seen()) == {"query_cache"}
        faults.forget()


@pytest.mark.parametrize("when", ["looked up", "made", "kept"])
def test_a_redis_that_dies_in_the_middle_is_a_miss(tmp_path: Path, when: str) -> None:
    """Whenever it is killed, the caller gets the value; started again, it keeps values again."""
    with RedisServer(tmp_path) as server:
        cache = QueryCache("tests", url=server.url)

        def creator() -> str:
            if when == "made":
                server.kill()
            return "made"

        if when == "looked up":
            server.kill()
        assert cache.get_or_create("k", creator) == "made"
        if when == "kept":
            server.kill()
        assert cache.get_or_create("k", Maker("made")) == "made"
        server.start()

        def kept() -> bool:
            cache.get_or_create("k", Maker("made"))
            return bool(cache.get_or_create("k", Maker("again")) == "made")

        assert until(kept)


def test_a_slow_redis_is_not_waited_for_again_and_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers within the deadline are waited for until they were slow; then the value is made."""
    monkeypatch.setattr("otelmon.caches.look_up._PATIENCE", 0.2)
    with TcpProxy(server.port) as proxy:
        cache = warmed(proxy)
        proxy.delay = 0.22
        asked = proxy.asked
        assert cache.get_or_create("new", Maker("made")) == "made"
        assert until(lambda: proxy.asked == asked + 1)
        faults.forget()


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        *({"name": "a b"}, {"name": ""}, {"name": 5}, {"ttl": 0}, {"ttl": "5"}, {"ttl": True}),
        *({"lock_timeout": -1}, {"max_bytes": 0}, {"max_bytes": True}, {"prefix": b"a"}),
    ],
)
def test_what_cannot_be_used_is_said(options: dict[str, Any]) -> None:
    """The message names the option."""
    (name,) = options
    with pytest.raises(ConfigError, match=name):
        QueryCache(**options)


def test_it_counts_nothing_below_while_it_is_not_observed(server: RedisServer) -> None:
    """Where the libraries are not observed, its own figures are still there."""
    with counting() as other, observe_libraries(other.meter, off=("redis", "caches")):
        assert QueryCache("apart", url=server.patient_url).get_or_create("k", Maker(1)) == 1
