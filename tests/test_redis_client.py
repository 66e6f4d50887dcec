"""`redis_client` before servers that die, hang, are slow or are not there."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis

import otelmon
from otelmon import ConfigError, faults
from otelmon.caches.clients import SECONDS
from otelmon.caches.guarded import BreakerOpenError
from otelmon.instruments.redis_commands import DURATION, ERROR, OPERATION
from otelmon.metrics import caches
from tests.counting import Counting, counting
from tests.free_ports import free_port
from tests.redis_server import RedisServer
from tests.tcp_proxy import TcpProxy
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


PATIENT: Any = {"socket_timeout": 20, "socket_connect_timeout": 20}
DOWN = (redis.ConnectionError, redis.TimeoutError)


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: Any) -> Iterator[RedisServer]:  # noqa: ANN401 - pytest's
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(name="proxy")
def _proxy(server: RedisServer) -> Iterator[TcpProxy]:
    with TcpProxy(server.port) as proxy:
        yield proxy


@pytest.fixture(name="count", autouse=True)
def _count(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    with counting() as count:
        monkeypatch.setattr("otelmon.stack.own_provider", lambda: count.provider)
        yield count


def client_of(port: int, **options: Any) -> redis.Redis:  # noqa: ANN401 - redis-py's
    """Return a client whose breaker opens after three failures, for a tenth of a second.

    It is patient: where a busy machine lets a server answer late, that is no failure.
    """
    usual = {"breaker_failures": 3, "breaker_seconds": 0.1, **PATIENT}
    return otelmon.redis_client(f"redis://127.0.0.1:{port}/0", **(usual | options))


def fails(client: redis.Redis) -> type[BaseException] | None:
    """Return how a command fails, None if it does not."""
    try:
        client.set("a", 1)
    except DOWN as error:
        return type(error)
    return None


def answers(client: redis.Redis) -> bool:
    """Tell whether a command is answered."""
    return fails(client) is None


def breakers(count: Counting) -> dict[str, int]:
    """Return how many breakers stand how."""
    found = caches.redis(count.reading())
    assert found is not None
    sums: dict[str, int] = {}
    for states in found["breakers"].values():
        for state, number in states.items():
            sums[state] = sums.get(state, 0) + number
    return sums


def changes(count: Counting) -> Counter[str]:
    """Return how often breakers came to stand how."""
    return Counter(count.by("otelmon.redis.breaker.changes", "otelmon.redis.breaker.state"))


def test_it_waits_a_quarter_of_a_second_and_tries_once(proxy: TcpProxy) -> None:
    """A server that takes the connection and says nothing is asked once, on one connection."""
    proxy.swallow()
    with otelmon.redis_client(f"redis://127.0.0.1:{proxy.port}/0") as client:
        known = client.connection_pool.connection_kwargs
        assert (known["socket_timeout"], known["socket_connect_timeout"]) == (SECONDS, SECONDS)
        assert fails(client) is redis.TimeoutError
    assert until(lambda: (proxy.accepted, proxy.asked) == (1, 1))


def test_what_the_caller_says_goes_before(server: RedisServer) -> None:
    """Options of redis-py are handed on, and so is what the URL says."""
    with client_of(server.port, socket_timeout=3, decode_responses=True) as client:
        client.set("a", 1)
        assert client.get("a") == "1"
        assert client.connection_pool.connection_kwargs["socket_timeout"] == 3
    with otelmon.redis_client(f"{server.url}?socket_timeout=2") as client:
        assert client.connection_pool.connection_kwargs["socket_timeout"] == 2


def test_an_open_breaker_asks_nobody(proxy: TcpProxy, count: Counting) -> None:
    """While it is open a call fails at once with an error of redis-py, and the server hears nothing."""
    proxy.refuse()
    with client_of(proxy.port, breaker_seconds=600) as client:
        assert [fails(client) for _ in range(3)] == [redis.ConnectionError] * 3
        accepted = proxy.accepted
        assert [fails(client) for _ in range(20)] == [BreakerOpenError] * 20
        with pytest.raises(redis.ConnectionError, match="breaker is open"):
            client.pipeline().get("a").execute()

        assert proxy.accepted == accepted
        assert breakers(count) == {"closed": 0, "half_open": 0, "open": 1}
    assert count.by("otelmon.redis.breaker.rejections") == {(): 21}
    assert count.by(DURATION, OPERATION, ERROR) == {("SET", "ConnectionError"): 3}


@pytest.mark.parametrize("way", ["kill", "hang"])
def test_it_closes_when_the_server_is_back(tmp_path: Any, count: Counting, way: str) -> None:  # noqa: ANN401 - pytest's
    """A server that is killed or stopped opens it; started or let go on, it closes by itself."""
    seconds = SECONDS if way == "hang" else 20
    with RedisServer(tmp_path) as server, client_of(server.port, socket_timeout=seconds) as client:
        assert until(lambda: answers(client))
        # On a busy machine it may have opened and closed before that.
        before = changes(count)
        getattr(server, way)()
        assert until(lambda: fails(client) is BreakerOpenError)
        assert breakers(count)["open"] == 1
        if way == "kill":
            server.start()
        else:
            server.go_on()
        assert until(lambda: answers(client))

        assert breakers(count) == {"closed": 1, "half_open": 0, "open": 0}
        since = changes(count) - before
        assert since["closed"] == 1
        assert since["open"] >= 1


def test_calls_that_hang_do_not_wait_for_each_other(proxy: TcpProxy) -> None:
    """Of eight threads that ask a hung server each is at it at the same time."""
    proxy.swallow()
    with (
        client_of(proxy.port, breaker_failures=100) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        waiting = [threads.submit(fails, client) for _ in range(8)]
        assert until(lambda: proxy.asked == 8)
        # All were sent before the first had waited its time.
        assert not any(each.done() for each in waiting)
        proxy.cut()
        assert {each.result() for each in waiting} == {redis.ConnectionError}


@pytest.mark.parametrize("way", ["cut", "half_close"])
def test_a_connection_that_is_cut_is_made_anew(proxy: TcpProxy, way: str) -> None:
    """After an idle connection was closed or half closed by the other side, calls go on by themselves."""
    with client_of(proxy.port) as client:
        assert answers(client)
        getattr(proxy, way)()
        assert until(lambda: answers(client))
        assert answers(client)


def test_a_slow_server_is_no_failure_within_the_deadline(proxy: TcpProxy, count: Counting) -> None:
    """Answers that come late, but in time, are answers."""
    proxy.delay = 0.05
    with client_of(proxy.port) as client:
        assert [answers(client) for _ in range(4)] == [True] * 4
    assert breakers(count)["open"] == 0


def test_what_a_server_refuses_is_no_failure_of_it(server: RedisServer, count: Counting) -> None:
    """A wrong type or an unknown command opens nothing; nor does a pool that is used up."""
    with client_of(server.port, max_connections=1) as client:
        client.set("text", "x")
        for _ in range(10):
            with pytest.raises(redis.ResponseError):
                client.incr("text")
        with client.pipeline() as pipe:
            pipe.watch("text")
            for _ in range(5):
                with pytest.raises(redis.ConnectionError, match="Too many"):
                    client.get("text")
        assert answers(client)
    assert breakers(count) == {"closed": 1, "half_open": 0, "open": 0}


def test_two_clients_are_two_series(server: RedisServer, count: Counting) -> None:
    """Breakers of one address are told apart, and never by what is secret."""
    secret = f"redis://default:secret@127.0.0.1:{free_port()}/3"
    clients = [otelmon.redis_client(url, **PATIENT) for url in (server.url, server.url, secret)]
    assert [fails(each) for each in clients] == [None, None, redis.ConnectionError]
    found = caches.redis(count.reading())
    assert found is not None

    assert len(found["breakers"]) == 3
    assert "secret" not in repr(found)
    assert "default" not in repr(found)
    for each in clients:
        each.close()


def test_a_child_that_was_forked_has_connections_of_its_own(server: RedisServer) -> None:
    """Parent and child ask at the same time and get their own answers."""
    with client_of(server.port) as client:
        assert answers(client)

        def ask(name: str) -> bool:
            with client.pipeline() as pipe:
                return all(
                    pipe.set(name, n).get(name).execute()[1] == str(n).encode() for n in range(200)
                )

        pid = os.fork()
        if pid == 0:
            os._exit(int(not ask("child")))
        assert ask("parent")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"url": "http://user:secret@example.org"}, "redis://"),
        ({"url": None}, "REDIS_URL"),
        ({"url": 5}, "url is no text"),
        ({"url": b"redis://:secret@h"}, "url is no text"),
        ({"breaker_failures": 0}, "breaker_failures is 0: give a whole number of failures"),
        ({"breaker_failures": 2.5}, "breaker_failures is 2.5"),
        (
            {"breaker_failures": "5", "breaker_seconds": "5"},
            r"failures is '5'(.|\n)*seconds is '5'",
        ),
        ({"breaker_seconds": 0}, "breaker_seconds is 0: give a number of seconds above 0"),
        ({"socket_timout": 1, "password": "secret"}, r"TypeError\): socket_timout\."),
        ({"url": "redis://:secret@h?socket_timout=1"}, r"TypeError\): socket_timout\."),
    ],
)
def test_what_cannot_be_used_is_said_without_secrets(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], problem: str
) -> None:
    """The message names the option and the way out, and no password."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(ConfigError, match=problem) as raised:
        otelmon.redis_client(**{"url": "redis://localhost", **arguments})
    assert "secret" not in str(raised.value)


def test_further_clients_of_its_pool_share_its_breaker(
    server: RedisServer, proxy: TcpProxy, count: Counting
) -> None:
    """What redis-py makes of the pool goes through it too; a pool of another's has none."""
    with client_of(server.port) as client:
        with client.client() as single:
            assert single.set("a", 1)
            assert single.pipeline().get("a").execute() == [b"1"]
        with type(client)(connection_pool=client.connection_pool) as other:
            assert answers(other)
    with (
        redis.ConnectionPool.from_url(server.url) as pool,
        type(client)(connection_pool=pool) as free,
    ):
        assert answers(free)
        assert free.pipeline().get("a").execute() == [b"1"]
    proxy.refuse()
    with client_of(proxy.port, breaker_seconds=600) as client:
        other = type(client)(connection_pool=client.connection_pool)
        assert [fails(other) for _ in range(4)] == [redis.ConnectionError] * 3 + [BreakerOpenError]
        assert fails(client) is BreakerOpenError
    assert breakers(count)["open"] == 1


def test_redis_url_is_the_server_unless_one_is_given(
    monkeypatch: pytest.MonkeyPatch, server: RedisServer
) -> None:
    """Without a URL the one of REDIS_URL is taken; nothing is connected before the first command."""
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}")
    with otelmon.redis_client() as lost:
        assert fails(lost) is redis.ConnectionError
    monkeypatch.setenv("REDIS_URL", server.url)
    with otelmon.redis_client(**PATIENT) as client:
        assert answers(client)
    assert faults.seen() == {}
