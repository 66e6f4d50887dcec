"""What is said of a Django site is what its PostgreSQL says, over four workers."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.gunicorn_server import ROOT, Gunicorn
from tests.postgres_server import USER, Postgres
from tests.scrapes import samples
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


BOOKS = 12


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        server.make("site")
        subprocess.run(
            [sys.executable, "-c", f"import tests.apps.django_database as a; a.fill({BOOKS})"],
            check=True,
            cwd=ROOT,
            env={**os.environ, "DATABASE_PORT": str(server.port)},  # noqa: TID251 - a child needs its PATH
        )
        yield server


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    env = {"DATABASE_PORT": str(postgres.port), "CONN_MAX_AGE": "600", "MONITORING_INTERVAL": "1"}
    app = "tests.apps.django_database:observed()"
    where = tmp_path_factory.mktemp("site")
    with Gunicorn(where, app=app, env=env, preload=True) as server:
        server.wait_for_workers(seconds=60)
        yield server


def figures(server: Gunicorn) -> dict[str, Any]:
    found: dict[str, Any] = server.ops("/api/metrics").json()
    return found


def pool(server: Gunicorn) -> dict[str, Any]:
    (found,) = figures(server)["pools"] or [{"used": None}]
    return dict(found)


def operations(server: Gunicorn, error: str | None = None) -> dict[str, int]:
    return {
        each["operation"]: each["count"]
        for each in figures(server)["queries"]["operations"]
        if each["error"] == error
    }


def by_route(server: Gunicorn) -> dict[str, dict[str, Any]]:
    return {each["route"]: each for each in figures(server)["queries"]["routes"]}


def settled(server: Gunicorn) -> bool:
    return bool(figures(server)["application"]["active_connections"] == 0)


def test_figures_are_those_of_the_server(postgres: Postgres, site: Gunicorn) -> None:
    """Queries by operation and by route, and connections, are as many as PostgreSQL says."""
    for worker in site.workers():
        # Once for each connection Django asks what is not the application's.
        with site.only(worker):
            assert site.get("/books/1", timeout=60).status == 200
    assert until(lambda: settled(site), 60)
    before, before_by_route = operations(site), by_route(site)
    sent = {word: postgres.queries("site", f"{word} %") for word in ("SELECT", "INSERT")}
    paths = ["/books"] * 6 + [f"/books/{n % BOOKS + 1}" for n in range(30)] + ["/authors"] * 9
    with ThreadPoolExecutor(4) as clients:
        asked = [
            answer.status for answer in clients.map(lambda path: site.get(path, timeout=60), paths)
        ]
    assert set(asked) == {200}
    assert until(lambda: settled(site), 60)
    after = operations(site)
    for word, count in sent.items():
        since = postgres.queries("site", f"{word} %") - count
        assert after.get(word, 0) - before.get(word, 0) == since > 0
    routes = by_route(site)
    nothing = {"requests": 0, "queries": 0}
    since_then = {
        route: tuple(
            routes[route][of] - before_by_route.get(route, nothing)[of]
            for of in ("requests", "queries")
        )
        for route in ("/books", "/books/<int:number>", "/authors")
    }
    assert since_then == {
        "/books": (6, 6 * (1 + BOOKS)),
        "/books/<int:number>": (30, 30),
        "/authors": (9, 9),
    }
    assert routes["/books"]["seconds"] > 0
    (again,) = routes["/books"]["repeated"]
    assert again["requests"] == 6
    assert '"tests_author"' in again["statement"]


def test_connections_are_in_use_in_requests(postgres: Postgres, site: Gunicorn) -> None:
    """What a request has is in use, what Django keeps for the next is idle, all as PostgreSQL says."""
    where = {"host": "127.0.0.1", "port": postgres.port, "user": USER, "dbname": "site"}
    with psycopg.connect(**where, application_name="tests", autocommit=True) as lock:  # type: ignore[arg-type]
        lock.execute("SELECT pg_advisory_lock(1)")
        with ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(site.get, "/hold", timeout=90) for _ in range(4)]
            assert until(lambda: pool(site)["used"] == 4, 60)
            page = samples(site.ops("/metrics").text)
            assert page["app_database_connections"] == postgres.connections("site") == 4
            lock.execute("SELECT pg_advisory_unlock(1)")
            assert [each.result().status for each in asked] == [200] * 4
    assert until(lambda: pool(site)["used"] == 0, 30)
    assert pool(site)["name"] == "django/default"
    assert pool(site)["idle"] == postgres.connections("site") == 4
    assert figures(site)["application"]["database_connections"] == 0


def test_queries_that_fail_are_told(site: Gunicorn) -> None:
    """A query that fails is an error by its class, and the page fails as it would."""
    assert site.get("/broken", timeout=60).status == 500
    assert until(lambda: operations(site, "ProgrammingError") == {"SELECT": 1}, 30)
