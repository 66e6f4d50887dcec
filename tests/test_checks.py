"""Health checks in one process: how they are registered, asked, judged and told."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Final

import pytest
import redis
import sqlalchemy

import otelmon
from otelmon import ConfigError, DiskCheck, HttpCheck, RedisCheck, SqlAlchemyCheck
from otelmon.checks import results
from otelmon.checks.disk import DiskFullError
from otelmon.checks.http import HttpStatusError
from otelmon.checks.registry import MOST, REGISTRY, Check, Registry
from otelmon.checks.results import Result, Results
from otelmon.checks.rounds import Rounds
from otelmon.ledger.segment import Segment
from otelmon.settings import Settings
from tests.free_ports import free_port
from tests.redis_server import redis_server
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


NOW: Final = 1_000_000_000_000


class Asked:
    """A round of checks on memory of this process, ticked as a keeper does."""

    def __init__(self, *, interval: float = 0.1, timeout: float = 0.1) -> None:
        """Have no checks yet."""
        self.registry = Registry()
        self.settings = Settings(health_check_interval=interval, health_check_timeout=timeout)
        self.segment = Segment()
        self.rounds = Rounds(self.registry, self.settings)

    def add(
        self,
        name: str,
        fn: Callable[[], object],
        *,
        critical: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Register a check."""
        self.registry.add(Check(name, fn, critical, False, timeout))

    def of(self, name: str) -> Result:
        """Tick once; return what is published of a check."""
        self.rounds.tick(self.segment)
        found = results.read(self.segment)
        assert found is not None
        (result,) = (each for each in found.checks if each.name == name)
        return result

    def becomes(self, name: str, status: str) -> Result:
        """Tick until a check is so."""
        assert until(lambda: self.of(name).status == status, 20)
        return self.of(name)


@pytest.fixture(name="asked")
def _asked() -> Asked:
    return Asked()


# -- registering ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "my db"}, "'my db'"),
        ({"name": ""}, "''"),
        ({"name": 7}, "7"),
        ({"name": "x" * 65}, "1 to 64"),
        ({"fn": "SELECT 1"}, "cannot be called"),
        ({"fn": lambda: None, "timeout": 0}, "timeout of the health check 'db' is 0"),
        ({"fn": lambda: None, "timeout": True}, "is True"),
        ({"fn": lambda: None, "timeout": 61.0}, "from 0.1 to 60"),
    ],
)
def test_what_cannot_be_a_check_is_refused_in_a_sentence(given: dict[str, Any], told: str) -> None:
    """Name, function and timeout are judged at once, and the message says the rule."""
    fields = {"name": "db", "fn": lambda: None, **given}
    with pytest.raises(ConfigError, match=told):
        otelmon.add_check(**fields)
    assert REGISTRY.checks == {}


def test_an_async_function_is_refused() -> None:
    """A coroutine would never be run, and the check would be up for ever."""

    async def ask() -> None:
        """Never be asked."""

    class Asking:
        __call__ = staticmethod(ask)

    for fn in (ask, partial(ask), Asking()):
        with pytest.raises(ConfigError, match="not async"):
            otelmon.add_check("db", fn)


def test_a_name_is_a_check_once_and_checks_are_bounded(asked: Asked) -> None:
    """The same name replaces; above 64 names another one is refused."""
    for number in range(MOST):
        asked.add(f"check-{number}", lambda: None)
    asked.add("check-0", lambda: False)

    assert len(asked.registry.checks) == MOST
    with pytest.raises(ConfigError, match="64 health checks already"):
        asked.add("one-more", lambda: None)


@pytest.mark.parametrize(
    "url",
    ["ftp://h/", "http:///p", "h:80", "http://h:0/", "http://h:x/", "http://h/a b", "http://["],
)
def test_an_address_that_is_none_is_refused_and_not_shown(url: str) -> None:
    """HttpCheck takes http and https only."""
    with pytest.raises(ConfigError) as error:
        HttpCheck(url)
    assert url not in str(error.value)


# -- asking ---------------------------------------------------------------------------------------


def test_a_check_is_unknown_then_up(asked: Asked) -> None:
    """Before it was asked nothing is known of it; then it is up, with how long it took and when."""
    go = threading.Event()
    asked.add("db", lambda: go.wait(20), timeout=30)

    first = asked.of("db")
    go.set()
    then = asked.becomes("db", "up")

    assert first == Result("db", critical=False, readiness=False)
    assert then.error is None
    assert then.latency_ms is not None
    assert then.at == pytest.approx(time.time_ns() / 1e9, abs=60)
    assert then.since == asked.of("db").since


@pytest.mark.parametrize(
    ("fn", "error"),
    [(lambda: 1 / 0, "ZeroDivisionError"), (lambda: False, "CheckFailedError")],
)
def test_a_check_that_raises_or_says_no_is_down(
    asked: Asked, fn: Callable[[], object], error: str
) -> None:
    """What is told of it is the error's class, never its message."""
    asked.add("db", fn, timeout=30)

    assert asked.becomes("db", "down").error == error


async def _ping() -> bool:
    """Never be run."""
    raise AssertionError


def _pings() -> Iterator[bool]:
    """Never be run either."""
    yield True


async def _pinged() -> AsyncIterator[bool]:
    """Nor this one."""
    yield True


@pytest.mark.parametrize(
    "fn",
    [lambda: _ping(), _pings, _pinged],  # noqa: PLW0108 - a function that does not look async
    ids=["coroutine", "generator", "async generator"],
)
@pytest.mark.filterwarnings("error")
def test_a_check_that_asked_nothing_is_down(
    asked: Asked, fn: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    """What has to be awaited or looped over is not up; the log says the way out."""
    asked.add("db", fn, timeout=30)

    assert asked.becomes("db", "down").error == "CheckNotRunError"
    assert "which has asked nothing: give a function that is done" in caplog.text
    gc.collect()


def test_a_check_that_ends_its_thread_is_down(asked: Asked) -> None:
    """Also what is no Exception, like SystemExit, says that it is down."""

    def leave() -> None:
        raise SystemExit

    asked.add("db", leave, timeout=30)

    assert asked.becomes("db", "down").error == "SystemExit"


def test_a_check_that_hangs_is_down_and_not_asked_twice(asked: Asked) -> None:
    """It is left behind, judged anew in each round, and asked again once it has come back."""
    go, calls = threading.Event(), []

    def hang() -> None:
        calls.append(time.monotonic_ns())
        go.wait(20)

    asked.add("db", hang)
    asked.add("other", lambda: None)
    first = asked.becomes("db", "down")
    assert first.error == "timeout"
    assert first.latency_ms is None

    # Rounds go on: the other one is asked again and again, and so is the judgement renewed.
    for _ in range(3):
        before = asked.of("other").monotonic
        assert until(lambda: asked.of("other").monotonic != before, 20)  # noqa: B023
    later = asked.of("db")
    assert len(calls) == 1
    assert (later.status, later.since) == ("down", first.since)
    assert later.monotonic is not None
    assert first.monotonic is not None
    assert later.monotonic > first.monotonic

    go.set()
    assert asked.becomes("db", "up").since != first.since
    assert len(calls) > 1


def test_a_check_that_comes_back_too_late_is_down(asked: Asked) -> None:
    """An answer after the deadline is none, although the keeper looked after it had come."""
    asked.add("db", lambda: threading.Event().wait(0.3), timeout=0.1)
    asked.rounds.tick(asked.segment)
    assert until(lambda: all(run.outcome for run in asked.rounds._running.values()), 20)

    assert asked.of("db").error == "timeout"
    assert asked.of("db").status == "down"


def test_a_change_is_logged_once(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    """Down is one line with the error's words but no password, up again one line, and no more."""
    broken = threading.Event()
    broken.set()

    def ask() -> None:
        if broken.is_set():
            raise ConnectionError("no way to http://me:secret@db/\nsecond line")

    caplog.set_level(logging.INFO, "otelmon")
    asked.add("db", ask, critical=True, timeout=30)
    asked.becomes("db", "down")
    before = asked.of("db").monotonic
    assert until(lambda: asked.of("db").monotonic != before, 20)
    broken.clear()
    asked.becomes("db", "up")

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "The health check db is down (ConnectionError): no way to ...@db/"),
        ("INFO", "The health check db is up again."),
    ]


def test_what_another_keeper_found_goes_on(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    """A keeper that takes over keeps since when it is down, and does not log it again."""
    asked.add("db", lambda: False, timeout=30)
    first = asked.becomes("db", "down")
    caplog.clear()
    asked.rounds = Rounds(asked.registry, asked.settings)
    assert asked.of("db").since == first.since
    assert until(lambda: asked.of("db").monotonic != first.monotonic, 20)

    assert asked.of("db").since == first.since
    assert caplog.records == []


def test_a_check_registered_later_is_asked_at_once() -> None:
    """The next beat asks it, and not only the next round."""
    asked = Asked(interval=3600)
    asked.add("early", lambda: None, timeout=30)
    asked.becomes("early", "up")
    asked.add("late", lambda: None, timeout=30)

    assert asked.becomes("late", "up").status == "up"


def test_a_forked_child_asks_anew(asked: Asked) -> None:
    """What the parent's threads were asking is not awaited in the child."""
    go = threading.Event()
    asked.add("db", lambda: go.wait(20), timeout=30)
    asked.rounds.tick(asked.segment)
    asked.rounds.forget()
    go.set()

    assert asked.becomes("db", "up").status == "up"


# -- judging --------------------------------------------------------------------------------------


def _result(**given: Any) -> Result:  # noqa: ANN401 - fields of Result
    fields = {"name": "db", "critical": False, "readiness": False, "status": "up"}
    return Result(**{**fields, "monotonic": NOW, "at": 1.0, "since": 1.0, **given})


@pytest.mark.parametrize(
    ("interval", "seconds", "status"),
    [(15.0, 45.0, "up"), (15.0, 45.1, "unknown"), (0.1, 5.0, "up"), (0.1, 5.1, "unknown")],
)
def test_a_result_that_is_too_old_is_unknown(interval: float, seconds: float, status: str) -> None:
    """That is after three intervals, and five seconds at least."""
    found = Results(interval, (_result(),)).as_of(NOW + round(seconds * 1e9))

    assert found.checks[0].status == status


def test_a_check_that_was_never_asked_does_not_age() -> None:
    """It is unknown whatever the time is."""
    never = Result("db", critical=True, readiness=True)

    assert Results(1.0, (never,)).as_of(NOW).checks == (never,)


@pytest.mark.parametrize(
    ("base", "checks", "status"),
    [
        ("healthy", [], "healthy"),
        ("healthy", [{"status": "up"}], "healthy"),
        ("healthy", [{"status": "down"}, {"status": "up"}], "degraded"),
        ("healthy", [{"status": "unknown", "critical": True}], "degraded"),
        ("healthy", [{"status": "down", "critical": True}], "unhealthy"),
        ("degraded", [{"status": "up"}], "degraded"),
        ("degraded", [{"status": "down", "critical": True}], "unhealthy"),
        ("unknown", [{"status": "down"}], "unknown"),
        ("unknown", [{"status": "down", "critical": True}], "unhealthy"),
    ],
)
def test_only_a_critical_check_that_is_down_is_unhealthy(
    base: str, checks: list[dict[str, Any]], status: str
) -> None:
    """Anything else that is not up is degraded at the most, and mends nothing."""
    assert results.status(base, [_result(**each) for each in checks]) == status


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        ({"readiness": True}, []),
        ({"readiness": True, "status": "down"}, ["db"]),
        ({"readiness": False, "status": "down", "critical": True}, []),
        ({"readiness": True, "status": "unknown", "monotonic": None}, ["db"]),
        ({"readiness": True, "status": "unknown"}, []),
    ],
)
def test_what_keeps_an_instance_from_being_ready(given: dict[str, Any], waits: list[str]) -> None:
    """A check for readiness that is down or was never asked, and not one that grew too old."""
    assert results.not_ready([_result(**given)]) == waits


def test_results_are_read_as_they_were_published() -> None:
    """Also by a version that knows less of them; nothing is there before the first."""
    segment = Segment()
    assert results.read(segment) is None
    found = Results(15.0, (_result(), replace(_result(name="cache"), error="timeout")))
    results.publish(segment, found)

    assert results.read(segment) == found


def test_the_most_checks_that_can_be_fit() -> None:
    """64 checks with the longest names and errors have room."""
    longest = [
        _result(name=f"{n:064}", error="E" * 200, latency_ms=1 / 3, at=1e9 / 3, since=1e9 / 3)
        for n in range(MOST)
    ]
    segment = Segment()
    results.publish(segment, Results(15.0, tuple(longest)))

    assert results.read(segment) == Results(15.0, tuple(longest))


# -- what can be asked ----------------------------------------------------------------------------


def test_a_database_is_asked_through_its_pool() -> None:
    """SqlAlchemyCheck is up while a connection can be had, and down when the pool gives none."""
    engine = sqlalchemy.create_engine(
        "sqlite://", poolclass=sqlalchemy.QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.05
    )
    check = SqlAlchemyCheck(engine)
    check()
    with engine.connect(), pytest.raises(sqlalchemy.exc.TimeoutError):
        check()
    check()
    engine.dispose()


_GREEN: Final = """
import gevent.monkey
gevent.monkey.patch_all()
import sqlalchemy
from otelmon import SqlAlchemyCheck, threads
engine = sqlalchemy.create_engine("sqlite:///" + __file__ + ".db", pool_size=1, max_overflow=0)
outcomes = []
with engine.connect():
    for _ in range(2):
        outcomes.append(threads.Errand(SqlAlchemyCheck(engine)).run(20))
engine.dispose()
assert (threads.is_green(), outcomes, engine.pool.checkedout()) == (True, [None, None], 0)
"""


def test_a_database_is_asked_beside_the_pool_under_gevent(tmp_path: Path) -> None:
    """Where all the pool has is in use by a greenlet, the check in its thread has its own."""
    script = tmp_path / "green.py"
    script.write_text(_GREEN)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr


def test_a_redis_is_asked_by_ping(tmp_path: Path) -> None:
    """RedisCheck is up while the server answers, and raises when it is gone."""
    with redis_server(tmp_path) as url, redis.Redis.from_url(url) as client:
        RedisCheck(client)()
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ConnectionError):
        RedisCheck(client)()


def test_a_disk_must_have_space(tmp_path: Path) -> None:
    """DiskCheck tells by the bytes that are free, and of a path that is not there."""
    DiskCheck(str(tmp_path), free_bytes=1)()
    with pytest.raises(DiskFullError, match="bytes free"):
        DiskCheck(str(tmp_path), free_bytes=2**62)()
    with pytest.raises(FileNotFoundError):
        DiskCheck(str(tmp_path / "none"))()
    with pytest.raises(ConfigError, match="free_bytes is -1"):
        DiskCheck(free_bytes=-1)


class _Service(BaseHTTPRequestHandler):
    """Answers with the status that the path ends with."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(int(self.path.rpartition("/")[2].partition("?")[0]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def _service() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_service_is_asked_over_http() -> None:
    """HttpCheck takes any status below 400 for up, follows no redirect, and is down else."""
    with _service() as port:
        for status in (200, 204, 302, 399):
            HttpCheck(f"http://127.0.0.1:{port}/x/{status}?a=b")()
        for status in (400, 404, 503):
            with pytest.raises(HttpStatusError, match=str(status)):
                HttpCheck(f"http://127.0.0.1:{port}/{status}")()
    with pytest.raises(ConnectionRefusedError):
        HttpCheck(f"http://127.0.0.1:{free_port()}")()
