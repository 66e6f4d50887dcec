"""Commands of any client of redis-py, against what the servers themselves have counted."""

from __future__ import annotations

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from otelmon import faults
from otelmon.instruments.libraries import observe_libraries
from otelmon.instruments.lookups import NAME, OPERATIONS, RESULT
from otelmon.instruments.redis_commands import DURATION, ERROR, OPERATION
from otelmon.metrics import caches
from tests.counting import Counting, counting
from tests.free_ports import free_port
from tests.gunicorn_server import ROOT
from tests.metered import Metered
from tests.redis_server import KINDS, RedisServer
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


BATCHED = "otelmon.redis.pipeline.commands"


@pytest.fixture(name="server", scope="module", params=KINDS)
def _server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[RedisServer]:  # noqa: ANN401 - pytest's
    with RedisServer(tmp_path_factory.mktemp("redis"), request.param) as server:
        yield server


@pytest.fixture(name="count")
def _count(server: RedisServer) -> Iterator[Counting]:
    server.reset()
    with counting() as count:
        yield count


def commands(count: Counting) -> dict[str, float]:
    """Return how often each command was sent, alone or in a pipeline."""
    found = count.by(DURATION, OPERATION)
    for batch in ("PIPELINE", "MULTI"):
        found.pop(batch, None)
    for name, times in count.by(BATCHED, OPERATION).items():
        found[name] = found.get(name, 0) + times
    return found


def lookups(count: Counting, name: str = "redis") -> tuple[float, float]:
    """Return hits and misses of a cache."""
    found = count.by(OPERATIONS, RESULT, otelmon_cache_name=name)
    return found.get("hit", 0), found.get("miss", 0)


def test_commands_are_those_that_the_server_has_counted(
    server: RedisServer, count: Counting
) -> None:
    """Of threads, pipelines, transactions and scripts, every command is counted once, and no other."""

    def work(number: int) -> None:
        client.set(f"k{number % 5}", number)
        client.get(f"k{number % 7}")
        with client.pipeline(transaction=number % 2 == 0) as pipeline:
            pipeline.incr("n").hset("h", "f", "1").get("nothing")
            pipeline.execute()
        client.hgetall("h")

    with server.client() as client, ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(60)))
        client.transaction(_twice, "n")
        client.register_script("return 1")()
    counted = commands(count)
    told = server.calls()

    # What redis-py says by itself: who it is, and around what it sends as a transaction.
    beside = ("HELLO", "CLIENT", "MULTI", "EXEC", "PING", "INFO", "CONFIG")
    assert counted == {name: n for name, n in told.items() if name not in (*beside, "FLUSHALL")}
    assert count.by(DURATION, OPERATION)["MULTI"] == told["MULTI"] == 31
    assert count.by(DURATION, OPERATION)["PIPELINE"] == 30


def _twice(pipe: Any) -> None:  # noqa: ANN401 - redis-py's own type hides what it returns
    n = int(pipe.get("n"))
    pipe.multi()
    pipe.set("n", 2 * n)


def test_look_ups_are_hits_or_misses(server: RedisServer, count: Counting) -> None:
    """GET, MGET, HGET, HMGET and EXISTS say of each key or field whether it was there."""
    with server.client() as client:
        client.set("a", "")
        client.hset("h", mapping={"f": "", "g": "0"})
        client.get("a")
        client.execute_command(b"get", "b")
        client.mget(["a", "b", "c"])
        client.hget("h", "f")
        client.hget("h", "x")
        client.hmget("h", ["f", "g", "x"])
        client.exists("a", "a", "b")
        client.getex("a")

    assert lookups(count) == (1 + 1 + 1 + 2 + 2 + 1, 1 + 2 + 1 + 1 + 1)


def test_look_ups_of_pipelines_and_transactions_too(server: RedisServer, count: Counting) -> None:
    """The same in a pipeline, a transaction and what is asked between WATCH and MULTI."""
    with server.client(decode_responses=True) as client:
        client.set("a", 1)
        for transaction in (True, False):
            with client.pipeline(transaction=transaction) as pipe:
                pipe.get("a").get("b").mget(["a", "b", "c"]).set("d", 1).exists("a", "z")
                pipe.execute()
        with client.pipeline() as pipe:
            pipe.watch("a")
            pipe.get("a")
            pipe.multi()
            pipe.get("b")
            pipe.execute()
        with client.pipeline(transaction=False) as pipe:
            pipe.get("a").lpush("a", 1).get("b")
            pipe.execute(raise_on_error=False)

    assert lookups(count) == (2 * 3 + 1 + 1, 2 * 4 + 1 + 1)


def test_failures_stand_under_their_class(server: RedisServer, count: Counting) -> None:
    """What a server refuses, and what does not reach one, is counted by command and class."""
    with server.client() as client:
        client.set("a", "text")
        with pytest.raises(redis.ResponseError):
            client.incr("a")
        with client.pipeline() as pipe, pytest.raises(redis.ResponseError):
            pipe.set("b", 1).lpush("a", 1).execute()
    with (
        redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0)) as gone,
        pytest.raises(redis.ConnectionError),
    ):
        gone.execute_command("GET", "a")

    assert count.by(DURATION, OPERATION, ERROR)["INCRBY", "ResponseError"] == 1
    assert count.by(DURATION, OPERATION, ERROR)["MULTI", "ResponseError"] == 1
    assert count.by(DURATION, OPERATION, ERROR)["GET", "ConnectionError"] == 1
    assert count.by(BATCHED, OPERATION) == {"SET": 1, "LPUSH": 1}
    assert lookups(count) == (0, 0)


def test_names_that_no_server_knows_are_one(server: RedisServer, count: Counting) -> None:
    """A command that was made up is `_OTHER`, however many there are; a real one is itself."""
    with server.client() as client:
        for name in ("BUY", "SELL", "<script>", "a b", "é"):
            with pytest.raises(redis.ResponseError):
                client.execute_command(name, "1")
        client.config_get("maxmemory")
    found = count.by(DURATION, OPERATION)

    assert found == {"_OTHER": 5, "CONFIG": 1}


def test_what_was_sent_is_in_no_attribute(server: RedisServer, count: Counting) -> None:
    """Neither keys nor values nor credentials are seen anywhere."""
    with server.client(username="default", password="") as client:
        client.set("key-secret", "value-secret")
        client.get("key-secret")
        count.provider.observe()
    said = [repr(series.attributes) for series in count.reading().series]

    assert not [each for each in said if "secret" in each or "default" in each], said


def test_clients_from_before_are_seen_and_left_alone_afterwards(server: RedisServer) -> None:
    """A client that was there before counts from then on, and its class is as it was at the end."""
    before = vars(redis.Redis)["execute_command"], vars(redis.ConnectionPool)["__init__"]
    with server.client() as client:
        client.set("a", 1)
        with counting() as count:
            client.get("a")
            count.provider.observe()
            assert lookups(count) == (1, 0)
            assert caches.redis(count.reading()) is not None
        assert client.get("a") == b"1"

    assert (
        vars(redis.Redis)["execute_command"],
        vars(redis.ConnectionPool)["__init__"],
    ) == before


def test_replies_and_errors_are_what_they_were(server: RedisServer, count: Counting) -> None:
    """The application gets the very same, and its subclasses go on being asked."""

    class Mine(redis.Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's
            return ["mine", super().execute_command(*args, **options)]  # type: ignore[no-untyped-call]

    with server.client() as plain:
        plain.set("a", "1")
        with Mine.from_url(server.url) as mine:
            assert mine.get("a") == ["mine", b"1"]
        with pytest.raises(IndexError):
            plain.execute_command()
        with plain.pipeline() as empty:
            assert empty.execute() == []
    assert lookups(count) == (1, 0)


def test_connections_are_those_that_the_server_has(server: RedisServer, count: Counting) -> None:
    """Those in use and those that are open without use come to what CLIENT LIST says."""
    pool: Any = redis.BlockingConnectionPool.from_url(server.url, max_connections=8)
    with (
        server.client() as client,
        redis.Redis(connection_pool=pool) as blocking,
        ThreadPoolExecutor(3) as threads,
        client.pipeline() as pipe,
    ):
        pipe.watch("a")
        waiting = [
            threads.submit(each.blpop, "never", timeout=0) for each in (client, client, blocking)
        ]
        assert until(lambda: _listed(client)[1] == 3)
        count.provider.observe()
        listed, _ = _listed(client)
        found = caches.redis(count.reading())
        assert found is not None
        assert found["pools"][f"127.0.0.1:{server.port}/0"] == {"used": 4, "idle": listed - 4}
        assert caches.connections(count.reading()) == 4

        client.rpush("never", 1, 2, 3)
        assert all(each.result(60) for each in waiting)
    count.provider.observe()
    assert caches.connections(count.reading()) == 0
    pool.disconnect()


def _listed(client: redis.Redis) -> tuple[int, int]:
    """Return how many clients the server has, and how many of them wait in BLPOP."""
    found: Any = client.client_list()
    return len(found), sum("b" in each["flags"] for each in found)


def test_pools_that_are_gone_are_of_nobody(server: RedisServer, count: Counting) -> None:
    """A pool is held weakly: without it there are no connections, and none are made up."""
    # Of a name that no other test's pool has.
    client = redis.Redis(host="127.0.0.1", port=server.port, db=7)
    client.get("a")
    count.provider.observe()
    assert any(name.endswith("/7") for name in _pools(count))
    client.close()
    del client
    gc.collect()
    count.provider.observe()

    assert not any(name.endswith("/7") for name in _pools(count))


def _pools(count: Counting) -> list[str]:
    """Return the names of the pools that are told of."""
    told = caches.redis(count.reading())
    return [] if told is None else list(told["pools"])


def test_it_is_not_imported_and_not_found_by_an_import_of_ours() -> None:
    """Whoever does not use Redis or a cache never imports them, also when an application is wrapped."""
    program = (
        "import sys; from otelmon import monitor; monitor(lambda environ, start: []); "
        "wanted = ('redis', 'django', 'cachelib', 'flask_caching', 'dogpile', 'cachetools'); "
        "print([name for name in wanted if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_any_meter_will_do(server: RedisServer) -> None:
    """It records on a meter of the SDK as well."""
    metered = Metered()
    with observe_libraries(metered.meter), server.client() as client:
        client.get("nothing")
        client.get("nothing")

    assert metered.by(DURATION, OPERATION) == {("GET",): 2}
    assert metered.by(OPERATIONS, NAME, RESULT) == {("redis", "miss"): 2}
    assert faults.seen() == {}
