"""One stock application over four workers: its queries, pools and caches, all of them at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.gunicorn_server import ROOT, Gunicorn
from tests.postgres_server import Postgres
from tests.redis_server import RedisServer
from tests.scrapes import samples
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


ORDERS = 12
CACHED = "/cached/<int:number>"
MIXED = "/mixed/<int:number>"


class Site(NamedTuple):
    """The application, and the two servers that count what it asks them."""

    server: Gunicorn
    postgres: Postgres
    store: RedisServer

    def shown(self) -> Any:  # noqa: ANN401 - parsed JSON
        """Return all figures."""
        return self.server.ops("/api/metrics").json()

    def routes(self) -> dict[str, dict[str, Any]]:
        """Return what is said of requests, by route."""
        return {each["route"]: each for each in self.shown()["queries"]["routes"]}

    def limits(self) -> int:
        """Return how many workers have been told what the database allows."""
        found = samples(self.server.ops("/metrics").text)
        return sum(key.startswith("otelmon_db_server_connection_limit{") for key in found)

    def visit(self, *paths: str, at_once: int = 4) -> None:
        """Ask for pages; return when all are booked."""
        with ThreadPoolExecutor(at_once) as clients:
            answers = list(clients.map(lambda path: self.server.get(path, timeout=60), paths))
        assert {answer.status for answer in answers} == {200}, self.server.log
        self.settle()

    def visit_each(self, *paths: str) -> None:
        """Ask every worker for pages, one after the other."""
        for worker in self.server.workers():
            # Meanwhile nobody may answer for the figures: it may be one of those that are stopped.
            with self.server.only(worker):
                for path in paths:
                    assert self.server.get(path, timeout=60).status == 200
        self.settle()

    def settle(self) -> None:
        """Wait until all is booked."""
        assert until(lambda: self.shown()["application"]["active_connections"] == 0, 60)


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("stocked")
    with Postgres(max_connections=40) as postgres, RedisServer(directory, "valkey") as store:
        postgres.make("shop")
        env = {
            "DATABASE_URL": postgres.url("shop"),
            "ENGINE_OPTIONS": json.dumps({"pool_size": 1, "max_overflow": 1}),
            "STORE": store.url,
            "MONITORING_INTERVAL": "1",
        }
        subprocess.run(
            [sys.executable, "-c", f"import tests.apps.flask_database as a; a.fill({ORDERS})"],
            check=True,
            cwd=ROOT,
            env={**os.environ, **env},  # noqa: TID251 - a child needs its PATH
        )
        app, args = "tests.apps.flask_stocked:app", ("--threads", "4")
        with Gunicorn(directory, app=app, worker_class="gthread", args=args, env=env) as server:
            server.wait_for_workers(seconds=60)
            site = Site(server, postgres, store)
            # What SQLAlchemy asks when it first connects is a request's; so that has another route.
            site.visit_each("/mixed/0", "/mixed/0", "/mixed/0", "/orders/1", "/mixed/1")
            # Each worker asks once how many connections it may have, which is a SELECT too.
            assert until(lambda: site.limits() == 4, 60), server.log
            yield site


def test_requests_before_a_workers_first_query_count(site: Site) -> None:
    """Each of four workers answered three requests without a query, then one with it: 0.25 of each."""
    mixed = site.routes()[MIXED]
    assert (mixed["requests"], mixed["queries"], mixed["queries_per_request"]) == (16, 4, 0.25)
    text = samples(site.server.ops("/metrics").text)
    (count,) = (
        value
        for key, value in text.items()
        if key.startswith("otelmon_http_server_queries_count") and f'http_route="{MIXED}"' in key
    )
    assert count == 16


def test_queries_pools_and_caches_are_those_of_the_servers(site: Site) -> None:
    """Each page is made by one query, and found in the cache from then on, whichever worker asks."""
    taken = site.shown()["pools"][0]["wait"]["count"]
    selects = site.postgres.queries("shop", "SELECT %")
    site.store.reset()
    pages = [f"/cached/{number + 1}" for number in range(ORDERS)]
    # One after the other first: two workers that miss one page at once would both make it.
    site.visit(*pages, at_once=1)
    site.visit(*pages * 4)
    page = site.routes()[CACHED]
    assert (page["requests"], page["queries"], page["queries_per_request"]) == (60, 12, 0.2)
    assert site.postgres.queries("shop", "SELECT %") - selects == ORDERS
    shown = site.shown()
    found = shown["caches"]["RedisCache"]
    assert (found["hits"], found["misses"]) == keyspace(site.store) == (48, 12)
    (pool,) = shown["pools"]
    assert pool["name"] == "postgresql/shop"
    assert (pool["used"], pool["max"], pool["timeouts"], pool["errors"]) == (0, 8, 0, 0)
    assert pool["wait"]["count"] - taken == ORDERS
    assert pool["wait"]["count"] == pool["use"]["count"]
    text = samples(site.server.ops("/metrics").text)
    assert (text["app_cache_hits_total"], text["app_cache_misses_total"]) == (48, 12)
    assert text["app_database_connections"] == 0


def keyspace(store: RedisServer) -> tuple[int, int]:
    """Return how many keys the server has found and not found."""
    with store.client() as client:
        said: Any = client.info("stats")
    return said["keyspace_hits"], said["keyspace_misses"]
