"""Pools of SQLAlchemy are counted exactly, whatever becomes of a connection."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, exc, text
from sqlalchemy.pool import NullPool, Pool, QueuePool, StaticPool

from otelmon import faults
from otelmon.instruments.databases.pools import Named
from tests.databases import Databases
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT = "db.client.connection.wait_time"


@pytest.fixture
def seen() -> Iterator[Databases]:
    with Databases() as databases:
        yield databases


def engine(tmp_path: Path, **options: Any) -> Engine:  # noqa: ANN401 - SQLAlchemy's
    return create_engine(f"sqlite:///{tmp_path}/shop.db", **options)


def state(seen: Databases, name: str = "sqlite/shop.db") -> tuple[int, int, int]:
    """Return connections used and idle, and who waits."""
    pool = seen.pool(name)
    return pool["used"], pool["idle"], pool["pending"]


def test_a_pool_tells_what_it_has(seen: Databases, tmp_path: Path) -> None:
    """Used, idle, overflow and limits are those of the pool after each step."""
    shop = engine(tmp_path, pool_size=2, max_overflow=3)
    taken = [shop.connect() for _ in range(4)]
    assert state(seen) == (4, 0, 0)
    assert seen.in_use() == 4
    pool = seen.pool("sqlite/shop.db")
    assert (pool["max"], pool["idle_max"], pool["overflow"]) == (5, 2, 2)
    for connection in taken:
        connection.close()
    assert state(seen) == (0, 2, 0)
    pool = seen.pool("sqlite/shop.db")
    assert (pool["overflow"], pool["wait"]["count"], pool["use"]["count"]) == (0, 4, 4)
    assert pool["create"]["count"] == 4
    with shop.connect():
        assert state(seen) == (1, 1, 0)
    assert seen.pool("sqlite/shop.db")["create"]["count"] == 4
    shop.dispose()


def test_an_engine_that_was_there_before_is_seen(tmp_path: Path) -> None:
    """What was made, and connected, before anybody observed is counted from then on."""
    shop = engine(tmp_path)
    with shop.connect() as early:
        early.execute(text("SELECT 1"))
        with Databases() as seen:
            with shop.connect():
                assert state(seen) == (1, 0, 0)
            assert state(seen) == (0, 1, 0)
            early.close()
            with shop.connect():
                assert state(seen) == (1, 1, 0)
    shop.dispose()


def test_an_exhausted_pool_is_exact(seen: Databases, tmp_path: Path) -> None:
    """All who wait are told, each timeout is counted once, and then the pool is as before."""
    shop = engine(tmp_path, pool_size=1, max_overflow=1, pool_timeout=30)
    held = [shop.connect(), shop.connect()]
    with ThreadPoolExecutor(3) as waiters:
        waiting = [waiters.submit(lambda: shop.connect().close()) for _ in range(3)]
        assert until(lambda: state(seen) == (2, 0, 3), 30)
        told = time.monotonic()
        assert until(lambda: time.monotonic() - told > 0.05)
        waited = time.monotonic() - told
        for each in held:
            each.close()
        for one in waiting:
            one.result(30)
    assert until(lambda: state(seen) == (0, 1, 0), 30)
    pool = seen.pool("sqlite/shop.db")
    assert (pool["wait"]["count"], pool["timeouts"], pool["errors"]) == (5, 0, 0)
    (row,) = seen.rows(WAIT)
    assert row.value >= 3 * waited
    shop.dispose()


def test_timeouts_are_counted(seen: Databases, tmp_path: Path) -> None:
    """A wait that ends without a connection is a timeout, no error, and a wait as long as it was."""
    shop = engine(tmp_path, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with shop.connect():
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(exc.TimeoutError):
                shop.connect()
        took = time.monotonic() - began
        assert state(seen) == (1, 0, 0)
    pool = seen.pool("sqlite/shop.db")
    assert (pool["wait"]["count"], pool["timeouts"], pool["errors"]) == (4, 3, 0)
    assert pool["use"]["count"] == pool["create"]["count"] == 1
    assert seen.by(WAIT, "error.type") == {(None,): 1, ("TimeoutError",): 3}
    (waited,) = (
        row.value for row in seen.rows(WAIT) if ("error.type", "TimeoutError") in row.attributes
    )
    assert 3 * 0.05 <= waited <= took
    whole = sum(row.value for row in seen.rows(WAIT))
    assert pool["wait"]["mean_ms"] == pytest.approx(1000 * whole / 4, abs=0.001)
    shop.dispose()


class Asking:
    """Who wants connections, and how long each time took from its side."""

    def __init__(self, shop: Engine) -> None:
        self._shop = shop
        self.took: list[float] = []

    def take(self) -> Connection | None:
        """Return a connection; None after a timeout."""
        began = time.monotonic()
        try:
            return self._shop.connect()
        except exc.TimeoutError:
            return None
        finally:
            self.took.append(time.monotonic() - began)

    def use(self) -> bool:
        """Take one and give it back; tell whether there was one."""
        taken = self.take()
        if taken is not None:
            taken.close()
        return taken is not None


def test_an_outage_shows_in_the_waits(seen: Databases, tmp_path: Path) -> None:
    """Of 24 who want one of 3 connections, each wait is in the sum, whether it was served or not."""
    shop = engine(tmp_path, pool_size=2, max_overflow=1, pool_timeout=0.3)
    asking = Asking(shop)
    held = [asking.take() for _ in range(3)]
    with ThreadPoolExecutor(24) as clients:
        first = [clients.submit(asking.use) for _ in range(13)]
        assert not any(each.result(30) for each in first)
        late = [clients.submit(asking.use) for _ in range(11)]
        for each in held:
            assert each is not None
            each.close()
        served = sum(each.result(30) for each in late)
    pool = seen.pool("sqlite/shop.db")
    assert (pool["timeouts"], pool["wait"]["count"]) == (24 - served, 3 + 24)
    assert pool["use"]["count"] == 3 + served
    waited = sum(row.value for row in seen.rows(WAIT))
    assert 13 * 0.3 <= waited <= sum(asking.took)
    assert pool["wait"]["mean_ms"] == pytest.approx(1000 * waited / 27, abs=0.001)
    shop.dispose()


def test_a_server_that_cannot_be_reached_is_an_error(seen: Databases, tmp_path: Path) -> None:
    """What cannot be connected is counted by its class, and holds nothing of the pool."""
    shop = create_engine(f"sqlite:///{tmp_path}/none/shop.db", pool_size=1, max_overflow=0)
    for _ in range(2):
        with pytest.raises(exc.OperationalError):
            shop.connect()
    errors = seen.by("otelmon.db.client.connection.errors", "error.type")
    assert errors == {("OperationalError",): 2}
    assert seen.by(WAIT, "error.type") == errors
    pool = seen.pool("sqlite/shop.db")
    assert (pool["wait"]["count"], pool["errors"], pool["use"]["count"]) == (2, 2, 0)
    assert state(seen) == (0, 0, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_the_garbage_collector_returns_is_returned(seen: Databases, tmp_path: Path) -> None:
    """A connection that nobody closed comes back when nobody has it."""
    shop = engine(tmp_path)
    lost = shop.raw_connection()
    assert state(seen) == (1, 0, 0)
    del lost
    gc.collect()
    assert state(seen) == (0, 1, 0)
    shop.dispose()


def test_what_is_detached_is_the_pools_no_longer(seen: Databases, tmp_path: Path) -> None:
    """A detached connection is in use by nobody's pool, and its place is free."""
    shop = engine(tmp_path, pool_size=1, max_overflow=0)
    own = shop.connect()
    own.detach()
    assert state(seen)[0] == 0
    with shop.connect():
        assert state(seen) == (1, 0, 0)
    own.close()
    shop.dispose()


def test_invalidations_are_told_by_their_reason(seen: Databases, tmp_path: Path) -> None:
    """The application's, an error's, a soft one's and a failed test's are four."""
    shop = engine(tmp_path, pool_pre_ping=True)
    with shop.connect() as one:
        one.invalidate()
    with shop.connect() as one:
        one.invalidate(RuntimeError("gone"))
    raw = shop.raw_connection()
    raw.invalidate(soft=True)
    raw.close()
    with shop.connect() as one:
        dead = one.connection.dbapi_connection
    assert dead is not None
    dead.close()  # as a server would that restarts; the pool does not know
    with shop.connect() as one:
        assert one.scalar(text("SELECT 1")) == 1
    found = seen.pool("sqlite/shop.db")["invalidations"]
    assert found == {"application": 1, "error": 1, "soft": 1, "pre_ping": 1}
    assert state(seen) == (0, 1, 0)
    shop.dispose()


def test_a_disposed_engine_holds_nothing(seen: Databases, tmp_path: Path) -> None:
    """What a disposed pool had idle is gone, what it had out is in use until it comes back."""
    shop = engine(tmp_path)
    held = shop.connect()
    shop.connect().close()
    shop.dispose()
    with shop.connect():
        assert seen.in_use() == 2
    held.close()
    gc.collect()
    assert seen.in_use() == 0
    shop.dispose()
    gc.collect()
    assert state(seen)[:2] == (0, 0)


@pytest.mark.parametrize("kind", [NullPool, StaticPool])
def test_other_pools_tell_what_they_have_in_use(
    seen: Databases, tmp_path: Path, kind: type[Pool]
) -> None:
    """Pools without a queue have connections in use too, and no limit that is made up."""
    shop = engine(tmp_path, poolclass=kind)
    with shop.connect() as one:
        one.execute(text("SELECT 1"))
        assert state(seen)[0] == 1
    assert state(seen)[0] == 0
    assert seen.pool("sqlite/shop.db")["max"] == (None if kind is NullPool else 1)
    shop.dispose()


def test_a_connection_for_each_thread_is_in_use_once(seen: Databases) -> None:
    """In a memory of SQLite a thread that connects twice has one connection."""
    shop = create_engine("sqlite://")
    with shop.connect(), shop.connect():
        assert state(seen, "sqlite/:memory:")[0] == 1
    assert state(seen, "sqlite/:memory:")[0] == 0
    shop.dispose()


def test_threads_lose_nothing(seen: Databases, tmp_path: Path) -> None:
    """Of 8 threads' 800 connections each is counted, and none is left."""
    shop = engine(tmp_path, pool_size=3, max_overflow=2, pool_timeout=30)
    start = threading.Barrier(8)

    def work(_: int) -> None:
        start.wait()
        for _ in range(100):
            with shop.connect() as one:
                one.execute(text("SELECT 1"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    pool = seen.pool("sqlite/shop.db")
    assert (pool["wait"]["count"], pool["use"]["count"]) == (800, 800)
    assert (pool["used"], pool["pending"]) == (0, 0)
    assert isinstance(shop.pool, QueuePool)
    assert pool["idle"] == shop.pool.checkedin()
    assert seen.operations() == {("SELECT", None): 800}
    shop.dispose()


def test_names_tell_nothing_secret(seen: Databases, tmp_path: Path) -> None:
    """A pool is called as the program calls it, else after its database; never after a password."""
    (tmp_path / "pass word").mkdir()
    for options in ({}, {"pool_logging_name": "replica of {shop}"}):
        path = f"sqlite:///file:{tmp_path}/pass word/a b.db?mode=rwc&uri=true&key=secret"
        create_engine(path, **options).connect().close()
    names = {pool for (pool,) in seen.by(WAIT, "db.client.connection.pool.name")}
    assert names == {"sqlite/a_b.db", "replica_of__shop_"}


def test_many_names_become_one(seen: Databases, tmp_path: Path) -> None:
    """After fifty names all others are one: a pool for each tenant does not fill the ledger."""
    for number in range(60):
        shop = create_engine(f"sqlite:///{tmp_path}/shop.db", pool_logging_name=f"t{number}")
        shop.connect().close()
        shop.dispose()
    assert len(seen.by(WAIT, "db.client.connection.pool.name")) == 51


def test_other_listeners_are_asked_as_ever(seen: Databases, tmp_path: Path) -> None:
    """Who listens to `do_execute` after us is asked once, also if it executes by itself."""
    shop = engine(tmp_path)
    asked: list[str] = []

    def looks(_cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    def does(cursor: Any, statement: str, parameters: Any, _context: object) -> bool:  # noqa: ANN401 - a driver's
        cursor.execute(statement.replace("41", "42"), parameters)
        return True

    event.listen(shop, "do_execute", looks)
    with shop.connect() as one:
        assert one.scalar(text("SELECT 41")) == 41
        event.listen(shop, "do_execute", does)
        assert one.scalar(text("SELECT 41")) == 42
    assert asked == ["SELECT 41", "SELECT 41"]
    assert seen.operations() == {("SELECT", None): 2}
    shop.dispose()


def test_other_listeners_are_asked_of_many_and_without_parameters_too(
    seen: Databases, tmp_path: Path
) -> None:
    """The two rarer ways to execute are counted once each, and whoever listens is asked once."""
    shop = engine(tmp_path)
    asked: list[tuple[str, object]] = []
    for name in ("do_executemany", "do_execute_no_params"):
        event.listen(shop, name, lambda _, statement, *more: asked.append((statement, more[:-1])))
    many = [{"a": 1}, {"a": 2}]
    with shop.connect() as one:
        one.execute(text("CREATE TABLE t (a)"))
        one.execute(text("INSERT INTO t VALUES (:a)"), many)
        bare = one.execution_options(no_parameters=True)
        assert bare.exec_driver_sql("SELECT sum(a) FROM t WHERE a % 2 = 0").scalar() == 2
    assert asked == [
        ("INSERT INTO t VALUES (?)", ([(1,), (2,)],)),
        ("SELECT sum(a) FROM t WHERE a % 2 = 0", ()),
    ]
    assert seen.operations() == {("CREATE", None): 1, ("INSERT", None): 1, ("SELECT", None): 1}
    shop.dispose()


def test_our_failures_are_nobody_elses(
    seen: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all that counts is broken, connections are had, used and returned."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    for name in ("claim", "got", "failed", "returned", "invalidated"):
        monkeypatch.setattr(Named, name, broken)
    shop = engine(tmp_path, pool_size=1, max_overflow=0, pool_timeout=0.05)
    for _ in range(3):
        with shop.connect() as one:
            assert one.scalar(text("SELECT 1")) == 1
            with pytest.raises(exc.TimeoutError):
                shop.connect()
            one.invalidate()
    assert faults.seen()["database_pool"].times > 3
    shop.dispose()


def test_while_nothing_observes_all_is_as_it_was(tmp_path: Path) -> None:
    """With the observation over, nothing is recorded, and a connection taken before comes back."""
    shop = engine(tmp_path)
    with Databases() as seen:
        held = shop.connect()
        assert seen.in_use() == 1
        before = seen.reading().lanes
    held.close()
    with shop.connect() as one:
        assert one.scalar(text("SELECT 1")) == 1
    assert before
    with Databases() as seen:
        assert seen.in_use() is None
        with shop.connect():
            assert state(seen) == (1, 0, 0)
    shop.dispose()
