"""What is said of a Flask-SQLAlchemy application is what its PostgreSQL says, over four workers."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.database_shop import ORDERS, ask_all, figures, fill, idle, limits, operations, pool, shop
from tests.postgres_server import USER, Postgres
from tests.scrapes import samples
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gunicorn_server import Gunicorn


LABEL = 'db_client_connection_pool_name="postgresql/shop"'


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres(max_connections=40) as server:
        made(server)
        yield server


def made(postgres: Postgres) -> None:
    """Make the shop's database."""
    postgres.make("shop")
    fill(postgres.url("shop"))


@pytest.fixture(scope="module")
def served(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    options = {"pool_size": 1, "max_overflow": 1, "pool_timeout": 5}
    with serving(postgres, tmp_path_factory.mktemp("shop"), pool=options) as server:
        yield server


@contextlib.contextmanager
def serving(
    postgres: Postgres, directory: Path, *, pool: dict[str, Any], kind: str = "gthread"
) -> Iterator[Gunicorn]:
    """Serve the shop; it ends before the database does."""
    with shop(directory, postgres.url("shop"), pool=pool, kind=kind) as server:
        server.wait_for_workers(seconds=60)
        yield server
    assert until(lambda: postgres.connections("shop") == 0, 30)


def warm(server: Gunicorn, postgres: Postgres) -> None:
    """Have every worker connect, as it does what is to be done once for it."""
    for worker in server.workers():
        with server.only(worker):
            assert ask_all(server, "/orders/1") == [200]
    assert until(lambda: idle(server), 60)
    # Each worker also asks once how many it may have, on a connection beside these.
    assert until(lambda: len(limits(server)) == 4, 30)
    assert until(lambda: postgres.connections("shop") == 4, 30)


def test_figures_are_those_of_the_server(postgres: Postgres, served: Gunicorn) -> None:
    """Connections and statements are as many as PostgreSQL says, and so is what it allows."""
    warm(served, postgres)
    before, before_by_route = operations(served), by_route(served)
    sent = {word: postgres.queries("shop", f"{word} %") for word in ("SELECT", "INSERT")}
    paths = [f"/orders/{n % ORDERS + 1}" for n in range(40)] + ["/orders"] * 8
    assert set(ask_all(served, *paths)) == {200}
    assert set(ask_all(served, *["/orders"] * 10, method="POST")) == {200}
    assert until(lambda: idle(served), 60)
    after, after_by_route = operations(served), by_route(served)
    for word, count in sent.items():
        since = postgres.queries("shop", f"{word} %") - count
        assert after.get(word, 0) - before.get(word, 0) == since > 0
    # One for the list, and one for the lines of each order in it.
    assert after_by_route["/orders"]["queries"] == 8 * (1 + ORDERS)
    one = "/orders/<int:number>"
    assert after_by_route[one]["queries"] - before_by_route[one]["queries"] == 40
    (again,) = after_by_route["/orders"]["repeated"]
    assert again["requests"] == 8
    assert again["statement"].startswith("SELECT lines.id, lines.order_id FROM lines WHERE ?")
    assert limits(served) == [37.0] * 4
    assert until(lambda: postgres.connections("shop") == pool(served)["idle"], 30)
    assert (pool(served)["used"], pool(served)["max"]) == (0, 8)
    assert pool(served)["server_share"] == round(8 / 37, 3)
    assert figures(served)["application"]["database_connections"] == 0


def by_route(server: Gunicorn) -> dict[str, dict[str, Any]]:
    """Return what GET requests ask for."""
    found = figures(server)["queries"]["routes"]
    return {each["route"]: each for each in found if each["method"] == "GET"}


def test_an_exhausted_pool_is_told_and_recovers(postgres: Postgres, served: Gunicorn) -> None:
    """Of 20 who want a connection each has one, waits or timed out, and the shop recovers."""
    server = served
    with locked(postgres) as lock:
        with ThreadPoolExecutor(20) as clients:
            asked = [clients.submit(server.get, "/hold", timeout=90) for _ in range(20)]

            def told() -> int:
                its = pool(server)
                return (
                    int(its.get("used") or 0)
                    + int(its.get("pending") or 0)
                    + int(its.get("timeouts") or 0)
                )

            assert until(lambda: told() == 20, 60)
            its = pool(server)
            holding = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            # A connection is in use a moment before its statement arrives there.
            assert until(lambda: postgres.execute(holding)[0][0] == its["used"])
            page = samples(server.ops("/metrics").text)
            assert page["app_database_connections"] == its["used"]
            assert until(lambda: pool(server)["timeouts"] == 20 - its["used"], 60)
            assert pool(server)["pending"] == 0
            assert until(lambda: health(server) == ("degraded", 1), 60), server.log
            lock.execute("SELECT pg_advisory_unlock(1)")
            statuses = sorted(each.result().status for each in asked)
        assert statuses == [200] * its["used"] + [500] * (20 - its["used"])
        told_now = samples(server.ops("/metrics").text)
        timeouts = told_now[f"db_client_connection_timeouts_total{{{LABEL}}}"]
        assert timeouts == 20 - its["used"]
        assert ask_all(server, "/orders/1") == [200]
        assert until(lambda: pool(server)["used"] == 0, 30)
        assert until(lambda: health(server) == ("healthy", 0), 60), server.log


def health(server: Gunicorn) -> tuple[str, int]:
    """Return the status that `/health` tells, and how many alerts are critical."""
    found = server.get("/health").json()
    return found["status"], found["monitoring"]["alerts"]["critical"]


@contextlib.contextmanager
def locked(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    """Hold the lock that `/hold` waits for."""
    where = {
        "host": "127.0.0.1",
        "port": postgres.port,
        "user": USER,
        "dbname": "shop",
        "application_name": "tests",
    }
    with psycopg.connect(**where, autocommit=True) as connection:  # type: ignore[arg-type]
        connection.execute("SELECT pg_advisory_lock(1)")
        yield connection


def test_what_dies_and_hangs_is_survived(tmp_path: Path) -> None:
    """A worker's connections go with it; a server that hangs or dies fails no figure of ours."""
    options = {"pool_size": 1, "max_overflow": 0}
    with Postgres() as postgres:
        made(postgres)
        with serving(postgres, tmp_path, pool=options, kind="sync") as server:
            warm(server, postgres)
            kill_holder(postgres, server)
            server.wait_for_workers(seconds=60)
            warm(server, postgres)
            hang(postgres, server)
            crash(postgres, server)


def kill_holder(postgres: Postgres, server: Gunicorn) -> None:
    """Kill a worker that has a connection."""
    with locked(postgres) as lock, ThreadPoolExecutor(1) as clients:
        asked = clients.submit(server.get, "/hold", timeout=90)
        assert until(lambda: pool(server)["used"] == 1, 30)
        counted = operations(server)["SELECT"]
        (busy,) = [each for each in figures(server)["workers"]["each"] if each["in_flight"]]
        os.kill(busy["pid"], 9)
        assert asked.exception(60) is not None
        assert until(lambda: pool(server)["used"] == 0, 30)
        lock.execute("SELECT pg_advisory_unlock(1)")
    assert operations(server)["SELECT"] >= counted


def hang(postgres: Postgres, server: Gunicorn) -> None:
    """Stop the database amid four requests; nothing of ours waits for it."""
    postgres.hang()
    try:
        with ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(server.get, "/orders/1", timeout=90) for _ in range(4)]
            assert until(lambda: pool(server)["used"] == 4, 30)
            assert server.ops("/health").status == 200
            postgres.resume()
            assert [each.result().status for each in asked] == [200] * 4
    finally:
        postgres.resume()
    assert until(lambda: pool(server)["used"] == 0, 30)


def crash(postgres: Postgres, server: Gunicorn) -> None:
    """Have the database die and come back; what failed is told, and nothing is left."""
    postgres.crash()
    assert set(ask_all(server, *["/orders/1"] * 8)) == {500}
    postgres.start()
    assert until(lambda: ask_all(server, "/orders/1") == [200], 60)
    failed = [each for each in figures(server)["queries"]["operations"] if each["error"]]
    its = pool(server)
    dead = its["invalidations"].get("error", 0)
    assert sum(each["count"] for each in failed) == dead > 0
    assert dead + its["errors"] >= 8
    assert until(lambda: idle(server), 60)
    assert pool(server)["used"] == 0
