"""What requests ask of databases is told by route, with the statements that they repeat."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, create_engine, exc, text

from otelmon import faults, set_route
from otelmon.instruments.databases.queries import Queries, System
from otelmon.middleware.requests import RequestMetrics
from tests.databases import Databases
from tests.gunicorn_server import ROOT


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


REQUESTS = "otelmon.http.server.queries"


@pytest.fixture
def seen() -> Iterator[Databases]:
    with Databases() as databases:
        yield databases


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path}/shop.db")
    yield made
    made.dispose()


class Site:
    """An application that makes as many queries as its path says."""

    def __init__(self, seen: Databases, shop: Engine) -> None:
        self.shop = shop
        self.app = RequestMetrics(self._answer, ledger=seen.ledger, serve=lambda: None)

    def get(self, *queries: int, route: str = "/orders", late: int = 0) -> None:
        """Ask for a page that runs so many queries of each statement, *late* ones in its body."""
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": route,
            "test": (queries, late),
        }
        body = self.app(environ, lambda *_: lambda _: None)
        list(body)
        body.close()  # type: ignore[attr-defined]

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        set_route(environ, environ["PATH_INFO"])
        start_response("200 OK", [])
        queries, late = environ["test"]
        with self.shop.connect() as one:
            for kind, times in enumerate(queries):
                for number in range(times):
                    one.execute(text(f"SELECT {number} AS a{kind}"))
        return self._body(late)

    def _body(self, late: int) -> Iterator[bytes]:
        with self.shop.connect() as one:
            for _ in range(late):
                one.execute(text("SELECT :late"), {"late": "x"})
                yield b"x"


def test_queries_are_told_by_route(seen: Databases, shop: Engine) -> None:
    """Each request's queries are its route's, also those that its body runs."""
    site = Site(seen, shop)
    site.get(2, 1)
    site.get(3)
    site.get(late=4, route="/report")
    site.get(route="/none")
    routes = seen.routes()
    counts = {route: (each["requests"], each["queries"]) for route, each in routes.items()}
    assert counts == {"/orders": (2, 6), "/report": (1, 4), "/none": (1, 0)}
    assert routes["/orders"]["seconds"] is not None
    assert routes["/none"]["seconds"] is None
    assert (routes["/report"]["queries_per_request"], routes["/report"]["queries_p95"]) == (4.0, 5)
    assert all(each["repeated"] == [] for each in routes.values())


def test_requests_before_the_first_query_count(seen: Databases, shop: Engine) -> None:
    """What a process answered before its first query is in the queries per request too."""
    site = Site(seen, shop)
    for queries in (0, 0, 0, 2, 0, 0, 0, 0):
        site.get(queries)
    site.get(route="/none")
    orders = seen.routes()["/orders"]
    assert (orders["requests"], orders["queries"]) == (8, 2)
    assert (orders["queries_per_request"], orders["queries_p95"]) == (0.25, 2)
    (row,) = (row for row in seen.rows(REQUESTS) if ("http.route", "/orders") in row.attributes)
    assert (row.count, row.buckets[:3]) == (8, (7, 0, 1))


def test_another_ledger_counts_from_its_first_request(shop: Engine) -> None:
    """A second monitor in the life of a process, with nothing imported since, misses none either."""
    for _ in range(2):
        with Databases() as seen:
            site = Site(seen, shop)
            site.get(0)
            site.get(1)
            assert seen.routes()["/orders"]["queries_per_request"] == 0.5


IMPORTS = """
import sys
from otelmon.instruments.databases.tally import QUERIES
from tests.databases import Databases

def imported(name):
    __import__(name)
    return QUERIES.on

with Databases():
    assert "sqlalchemy" not in sys.modules and "django.db" not in sys.modules
    said = [QUERIES.on]
    if sys.argv[1] == "sqlalchemy":
        said.append(imported("sqlalchemy"))
    else:
        from django.conf import settings
        settings.configure(DATABASES=eval(sys.argv[2]))
        said.append(imported("django.db"))
print(*said, QUERIES.on)
"""


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        (("sqlalchemy",), True),
        (("django", "{'default': {'ENGINE': 'django.db.backends.sqlite3'}}"), True),
        (("django", "{}"), False),
        (("django", "{'default': {}}"), False),
    ],
)
def test_who_has_no_database_pays_for_none(arguments: tuple[str, ...], counts: bool) -> None:
    """Requests are looked at from when a library is imported that asks databases, if there are any."""
    told = subprocess.run(
        [sys.executable, "-c", IMPORTS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert told.stdout.split() == ["False", str(counts), "False"], told.stderr


def test_repeated_statements_are_told(seen: Databases, shop: Engine) -> None:
    """From ten times on the same statement is told, whatever its literals, and by its route."""
    site = Site(seen, shop)
    site.get(9, 9)
    site.get(1, 10)
    site.get(61)
    site.get(61)
    repeated = {
        each["statement"]: each["requests"] for each in seen.routes()["/orders"]["repeated"]
    }
    assert repeated == {"SELECT ? AS a1": 1, "SELECT ? AS a0": 2}
    (row,) = seen.rows("otelmon.http.server.query.repeats")
    over = sum(row.buckets[row.instrument.bounds.index(9.0) + 1 :])
    assert (row.count, over) == (4, 3)


def test_what_runs_elsewhere_is_no_requests(seen: Databases, shop: Engine) -> None:
    """Queries of other threads, and between requests, are counted, and by no route."""
    site = Site(seen, shop)

    def work() -> None:
        with shop.connect() as one:
            for _ in range(20):
                one.execute(text("SELECT 1"))

    site.get(1)
    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    site.get(1)
    assert seen.routes()["/orders"]["queries"] == 2
    assert seen.operations() == {("SELECT", None): 42}


def test_operations_and_errors_are_told(seen: Databases, shop: Engine) -> None:
    """Every query is counted once, by its operation, and by its error's class if it failed."""
    with shop.connect() as one:
        one.execute(text("CREATE TABLE t (a INTEGER UNIQUE)"))
        one.execute(text("INSERT INTO t VALUES (:a)"), [{"a": 1}, {"a": 2}, {"a": 3}])
        one.execute(text("UPDATE t SET a = a + 10"))
        one.exec_driver_sql("SELECT a FROM t")
        one.exec_driver_sql("PRAGMA user_version")
        with pytest.raises(exc.IntegrityError):
            one.execute(text("INSERT INTO t VALUES (11)"))
        with pytest.raises(exc.OperationalError):
            one.execute(text("SELECT a FROM nothing"))
    assert seen.operations() == {
        ("CREATE", None): 1,
        ("INSERT", None): 1,
        ("UPDATE", None): 1,
        ("SELECT", None): 1,
        ("PRAGMA", None): 1,
        ("INSERT", "IntegrityError"): 1,
        ("SELECT", "OperationalError"): 1,
    }
    systems = seen.by("db.client.operation.duration", "db.system.name")
    assert systems == {("sqlite",): 7}


def test_more_statements_than_are_told_apart_are_counted_all_the_same(
    seen: Databases, shop: Engine
) -> None:
    """Of 1,040 different statements each is a query; the 40 last ones are not told apart."""
    Site(seen, shop).get(*[1] * 1040)
    assert seen.routes()["/orders"]["queries"] == 1040
    Site(seen, shop).get(2, route="/next")
    assert seen.routes()["/next"]["queries"] == 2


def test_our_failures_are_nobody_elses(
    seen: Databases, shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where booking is broken, queries run and fail as ever, and requests are answered."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(
        Queries, "of", lambda *_: System(Queries(seen.provider.get_meter("x")), "x")
    )
    monkeypatch.setattr("otelmon.instruments.databases.tally.RequestQueries.add", broken)
    site = Site(seen, shop)
    site.get(3)
    with shop.connect() as one, pytest.raises(exc.OperationalError):
        one.execute(text("SELECT a FROM nothing"))
    assert faults.seen()["database_query"].times == 4
    assert seen.reading().finished == 1


GREEN = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent, json
from sqlalchemy import create_engine, text
from otelmon.instruments.databases.tally import QUERIES
from tests.databases import Databases

with Databases() as seen:
    shop = create_engine("sqlite:///", pool_logging_name="green")
    shop.connect().execute(text("SELECT 1"))

    def request(number):
        QUERIES.begin()
        for _ in range(number):
            with shop.connect() as one:
                one.execute(text("SELECT 1"))
            gevent.sleep(0)
        QUERIES.end((("http.request.method", "GET"), ("http.route", f"/{number}")))

    gevent.joinall([gevent.spawn(request, number) for number in (3, 5, 12)], raise_error=True)
    print(json.dumps({route: each["queries"] for route, each in seen.routes().items()}))
"""


def test_requests_of_greenlets_are_told_apart() -> None:
    """Requests that gevent runs in turns in one thread have their own queries each."""
    told = subprocess.run(
        [sys.executable, "-c", GREEN], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == {"/3": 3, "/5": 5, "/12": 12}
