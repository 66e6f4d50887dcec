"""What is said of pools on MySQL's protocol is what a real MariaDB says; so is what it advises."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pymysql import err
from sqlalchemy import create_engine, exc, text

from otelmon import faults
from tests.database_shop import ORDERS, ask_all, figures, fill, idle, limits, operations, pool, shop
from tests.databases import Databases
from tests.mariadb_server import MariaDB
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gunicorn_server import Gunicorn


MOST = 10
NAME = "mysql/shop"


@pytest.fixture(name="mariadb", scope="module")
def _mariadb() -> Iterator[MariaDB]:
    with MariaDB(max_connections=MOST) as server:
        server.execute("CREATE DATABASE shop")
        fill(server.url("shop"))
        yield server


@pytest.fixture(name="seen")
def _seen() -> Iterator[Databases]:
    with Databases() as databases:
        yield databases


def told(seen: Databases, url: str) -> dict[str, Any]:
    """Use an engine once, and return what is said of its pool after a beat."""
    engine = create_engine(url, pool_size=2, max_overflow=1)
    with engine.connect() as one:
        one.execute(text("SELECT 1"))
        assert seen.provider.observe()
        (row,) = seen.rows("db.client.connection.max")
        found = seen.pool(str(dict(row.attributes)["db.client.connection.pool.name"]))
    engine.dispose()
    return found


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_the_limit_is_what_the_server_allows(seen: Databases, mariadb: MariaDB, kind: str) -> None:
    """By either name that SQLAlchemy has for it, the limit is `max_connections`."""
    found = told(seen, mariadb.url("shop", kind))

    (said,) = mariadb.execute("SHOW GLOBAL VARIABLES LIKE 'max_connections'")
    assert found["name"] == f"{kind}/shop"
    assert found["server_limit"] == int(said[1]) == MOST
    assert (found["max"], found["server_share"]) == (3, round(3 / MOST, 3))


def test_an_account_with_a_limit_of_its_own_has_that(seen: Databases, mariadb: MariaDB) -> None:
    """Where an account may have fewer connections than the server, that is the limit."""
    mariadb.execute("SET GLOBAL max_user_connections = 5")
    try:
        assert told(seen, mariadb.url("shop"))["server_limit"] == 5
    finally:
        mariadb.execute("SET GLOBAL max_user_connections = 1000")


def test_who_cannot_say_has_no_limit(seen: Databases, tmp_path: Path) -> None:
    """A file has no limit of connections: the figure and the share are null, and nothing is a fault."""
    found = told(seen, f"sqlite:///{tmp_path / 'a.db'}")

    assert (found["max"], found["server_limit"], found["server_share"]) == (3, None, None)
    assert "database_limit" not in faults.seen()


def test_a_server_that_is_full_leaves_the_limit_unknown(seen: Databases, mariadb: MariaDB) -> None:
    """It cannot be asked then: null, and one fault. The application's queries go on."""
    before = connected(mariadb)
    engine = create_engine(mariadb.url("shop"), pool_size=1, max_overflow=0)
    with engine.connect() as one, contextlib.ExitStack() as others:
        with contextlib.suppress(Exception):
            for _ in range(2 * MOST):
                others.enter_context(contextlib.closing(mariadb.connect()))
        assert seen.provider.observe()
        assert one.scalar(text("SELECT 1")) == 1
        assert seen.pool(NAME)["server_limit"] is None
        assert faults.seen()["database_limit"].times == 1
        with pytest.raises(exc.OperationalError):
            create_engine(mariadb.url("shop")).connect()
    engine.dispose()
    assert seen.pool(NAME)["errors"] == 1
    # It notes a moment later who has gone, and until then refuses the next test.
    assert until(lambda: connected(mariadb) <= before)


def connected(mariadb: MariaDB) -> int:
    """Return how many connections the server has; more than it may have where it takes none."""
    try:
        return mariadb.connections()
    except err.OperationalError:
        return MOST + 1


def hurried(directory: Path, mariadb: MariaDB, options: dict[str, Any]) -> Gunicorn:
    return shop(directory, mariadb.url("shop"), pool=options, factory="hurried")


@pytest.fixture(name="served", scope="module")
def _served(mariadb: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    options = {"pool_size": 2, "max_overflow": 1}
    with hurried(tmp_path_factory.mktemp("shop"), mariadb, options) as server:
        server.wait_for_workers(seconds=60)
        # What is to be done once is done by each worker; the limit is asked for beside it.
        for worker in server.workers():
            with server.only(worker):
                assert ask_all(server, "/orders/1") == [200]
        assert until(lambda: limits(server) == [float(MOST)] * 4, 60), (limits(server), server.log)
        assert until(lambda: idle(server) and mariadb.connections() == 4, 60)
        yield server


def test_figures_are_those_of_the_server(mariadb: MariaDB, served: Gunicorn) -> None:
    """Statements are as many as `Com_select` and `Com_insert`, connections as `Threads_connected`."""
    words = {"SELECT": "Com_select", "INSERT": "Com_insert"}
    before, sent = operations(served), mariadb.status(*words.values())
    paths = [f"/orders/{n % ORDERS + 1}" for n in range(40)] + ["/orders"] * 8
    assert set(ask_all(served, *paths)) == {200}
    assert set(ask_all(served, *["/orders"] * 10, method="POST")) == {200}
    assert until(lambda: idle(served), 60)

    after, since = operations(served), mariadb.status(*words.values())
    for word, counted in words.items():
        assert after[word] - before.get(word, 0) == since[counted] - sent[counted] > 0
    assert until(lambda: pool(served)["idle"] == mariadb.connections(), 30)
    its = pool(served)
    assert (its["name"], its["used"], its["max"], its["errors"]) == (NAME, 0, 12, 0)
    assert (its["server_limit"], its["server_share"]) == (MOST, round(12 / MOST, 3))


def test_connections_in_use_are_those_that_wait_there(mariadb: MariaDB, served: Gunicorn) -> None:
    """While four requests wait for a lock, so many connections are in use as the server sees wait."""
    waiting = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User lock'"
    with mariadb.connect() as holder, holder.cursor() as lock, ThreadPoolExecutor(4) as clients:
        lock.execute("SELECT get_lock('hold', 10)")
        asked = []
        for worker in served.workers():
            with served.only(worker):
                asked.append(clients.submit(served.get, "/hold", timeout=90))
                # One in each: they come to those that run.
                assert until(lambda: mariadb.execute(waiting)[0][0] == len(asked), 60)
        assert until(lambda: pool(served)["used"] == 4, 60), pool(served)
        assert figures(served)["application"]["database_connections"] == 4

        def told() -> bool:
            # The one that holds the lock is not theirs; who has asked just now is not gone at once.
            its = pool(served)
            return bool(its["used"] + its["idle"] == mariadb.connections() - 1)

        assert until(told, 30), (pool(served), mariadb.connections())
        lock.execute("SELECT release_lock('hold')")
        assert [each.result().status for each in asked] == [200] * 4
    assert until(lambda: pool(served)["used"] == 0, 30)


def test_the_advice_is_true(mariadb: MariaDB, served: Gunicorn, tmp_path: Path) -> None:
    """Four workers may open 12 of 10: that is said with the server's figure; as advised, they fit."""
    assert until(lambda: budget(served)["status"] == "recommend", 60), budget(served)
    (said,) = [each for each in advice(served)["items"] if each["id"] == "OTM-R014"]
    assert said["message"].startswith(
        "Up to 12 database connections are possible (4 workers x 3), and the server allows 10. "
        "Consider: DB_POOL_SIZE=1, DB_MAX_OVERFLOW=1, or a pooler."
    )
    assert said["evidence"] == {
        "pool": NAME,
        "possible": 12,
        "workers": 4,
        "per_worker": 3,
        "allowed": MOST,
        "server_told": True,
    }
    proposed = {each["setting"]: each["proposed"] for each in said["actions"]}
    options = {"pool_size": proposed["DB_POOL_SIZE"], "max_overflow": proposed["DB_MAX_OVERFLOW"]}
    with hurried(tmp_path, mariadb, options) as follows:
        follows.wait_for_workers(seconds=60)
        assert ask_all(follows, "/orders/1") == [200]
        assert until(lambda: budget(follows)["status"] == "pass", 60), budget(follows)


def advice(server: Gunicorn) -> dict[str, Any]:
    found: dict[str, Any] = server.ops("/api/metrics/recommendations?all").json()
    return found


def budget(server: Gunicorn) -> dict[str, Any]:
    (found,) = [each for each in advice(server)["checked"] if each["id"] == "OTM-R014"]
    return dict(found)
