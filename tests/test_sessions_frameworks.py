"""Stock Flask and Django applications on otelmon's sessions, over four workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.gunicorn_server import Gunicorn
from tests.redis_server import RedisServer
from tests.visitor import Visitor
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


COOKIE: Final = "__Host-session"
SECONDS: Final = 60
SECRET: Final = "made up for these tests alone"
CASES: Final = {
    "flask-sync": ("flask", "sync", True),
    "flask-cookie": ("flask", "gthread", False),
    "flask-gevent": ("flask", "gevent", True),
    "django-sync": ("django", "sync", True),
    "django-cookie": ("django", "gthread", False),
}


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory: Any) -> Iterator[RedisServer]:  # noqa: ANN401 - pytest's
    with RedisServer(tmp_path_factory.mktemp("redis")) as store:
        yield store


def serve(
    directory: Path, framework: str, worker_class: str, url: str | None, workers: int = 4
) -> Gunicorn:
    """Return a server, with Redis if there is an address."""
    env = {"SESSION_SECRET": SECRET, "DATABASE": str(directory / "site.db")}
    if url is not None:
        env["REDIS_URL"] = url
    return Gunicorn(
        directory,
        app=f"tests.apps.{framework}_sessions:app",
        workers=workers,
        worker_class=worker_class,
        preload=True,
        env=env,
    )


@pytest.fixture(name="site", scope="module", params=CASES)
def _site(
    request: pytest.FixtureRequest,
    store: RedisServer,
    tmp_path_factory: Any,  # noqa: ANN401 - as above
) -> Iterator[tuple[str, Gunicorn]]:
    framework, worker_class, with_redis = CASES[request.param]
    directory = tmp_path_factory.mktemp(request.param)
    url = store.patient_url if with_redis else None
    with serve(directory, framework, worker_class, url) as server:
        server.wait_for_workers(seconds=SECONDS)
        yield request.param, server


def login(port: int) -> Visitor:
    """Return somebody who has logged in."""
    visitor = Visitor(port)
    token = visitor.get("/token").text
    before = visitor.cookies[COOKIE]
    answer = visitor.post("/login", name="ada", csrf_token=token, csrfmiddlewaretoken=token)
    assert answer.status in (200, 302), answer.text
    assert visitor.cookies[COOKIE] != before
    return visitor


def test_login_flash_and_csrf_of_stock_applications_go_over_all_workers(
    site: tuple[str, Gunicorn],
) -> None:
    """Twelve log in, see their name and one flash once, log out; all four workers take part."""
    _, server = site

    def visit(_: int) -> set[str]:
        visitor = login(server.port)
        assert visitor.get("/").json() == {"name": "ada", "flashed": ["Welcome, ada"]}
        assert visitor.get("/").json() == {"name": "ada", "flashed": []}
        token = visitor.get("/token").text
        answer = visitor.post("/logout", csrf_token=token, csrfmiddlewaretoken=token)
        assert answer.status == 200, answer.text
        assert COOKIE not in visitor.cookies
        assert visitor.get("/").json() == {"name": None, "flashed": []}
        return visitor.workers

    seen: set[str] = set()

    def all_took_part() -> bool:
        with ThreadPoolExecutor(4) as visitors:
            seen.update(*visitors.map(visit, range(12)))
        return len(seen) == 4

    assert until(all_took_part, SECONDS), seen


def test_a_forged_form_is_refused(site: tuple[str, Gunicorn]) -> None:
    """A form without the session's token, or with another session's, is not let in."""
    name, server = site
    others = Visitor(server.port).get("/token").text
    for form in ({}, {"csrf_token": others, "csrfmiddlewaretoken": others}):
        visitor = Visitor(server.port)
        visitor.get("/token")
        answer = visitor.post("/login", name="ada", **form)
        assert answer.status == (400 if name.startswith("flask") else 403)


def test_tampering_is_no_session_in_stock_applications(site: tuple[str, Gunicorn]) -> None:
    """Of a cookie with one byte changed, anywhere, nobody is logged in, and nothing fails."""
    _, server = site
    cookie = login(server.port).cookies[COOKIE]
    places = range(0, len(cookie), max(1, len(cookie) // 12))
    for place in (*places, len(cookie) - 1):
        flipped = cookie[:place] + chr(ord(cookie[place]) ^ 1) + cookie[place + 1 :]
        answer = Visitor(server.port, {COOKIE: flipped}).get("/")
        assert (answer.status, answer.json()["name"]) == (200, None), place


def test_replay_after_logout_fails_where_there_is_redis(site: tuple[str, Gunicorn]) -> None:
    """The cookie of before the logout is worth nothing; without Redis it is, as documented."""
    name, server = site
    visitor = login(server.port)
    stolen = dict(visitor.cookies)
    token = visitor.get("/token").text
    stolen = dict(visitor.cookies)
    visitor.post("/logout", csrf_token=token, csrfmiddlewaretoken=token)

    replayed = Visitor(server.port, stolen).get("/").json()["name"]
    assert replayed == ("ada" if name.endswith("cookie") else None)


def test_the_id_of_before_the_login_is_dead_after_it(site: tuple[str, Gunicorn]) -> None:
    """Fixation: whoever made somebody take his cookie is not logged in with him."""
    _, server = site
    attacker = Visitor(server.port)
    token = attacker.get("/token").text
    planted = dict(attacker.cookies)
    victim = Visitor(server.port, planted)
    victim.post("/login", name="ada", csrf_token=token, csrfmiddlewaretoken=token)

    assert victim.get("/").json()["name"] == "ada"
    assert Visitor(server.port, planted).get("/").json()["name"] is None


@pytest.mark.parametrize("framework", ["flask", "django"])
def test_redis_down_leaves_the_application_without_sessions(
    framework: str,
    tmp_path: Path,
    tmp_path_factory: Any,  # noqa: ANN401 - as above
) -> None:
    """Hung, it has the application answer without; sessions and cookies outlive that."""
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as store,
        # Longer than a busy machine has it wait, and short enough to wait for the breaker.
        serve(tmp_path, framework, "sync", f"{store.url}?socket_timeout=1", workers=1) as server,
    ):
        visitor = login(server.port)
        cookies = dict(visitor.cookies)
        store.hang()
        try:
            without_sessions(server, visitor, cookies)
        finally:
            store.go_on()
        assert until(lambda: visitor.get("/").json()["name"] == "ada", SECONDS), server.log
        assert visitor.cookies == cookies
        assert visitor.get("/status").json() == {"available": True, "seen": 1}
        # One line for each class of error, and the breaker's two.
        assert 1 <= server.log.count("sessions failed:") <= 2
        assert SECRET not in server.log
        assert cookies[COOKIE].partition(".")[0] not in server.log


def without_sessions(server: Gunicorn, visitor: Visitor, cookies: dict[str, str]) -> None:
    """Visit while there are none, somebody who had one and somebody who had not."""
    for _ in range(3):
        assert visitor.get("/").json() == {"name": None, "flashed": []}
        assert visitor.get("/status").json() == {"available": False, "seen": 1}
        assert visitor.cookies == cookies
    assert Visitor(server.port).get("/status").status == 200
    assert faults(server)["sessions"]["error"] in ("TimeoutError", "BreakerOpenError")


def faults(server: Gunicorn) -> Any:  # noqa: ANN401 - parsed JSON
    """Return what failed."""
    return server.get("/health").json()["otelmon"]["faults"]


def test_django_goes_by_its_own_rules(store: RedisServer, tmp_path: Path) -> None:
    """set_expiry is how long Redis keeps a session, after reading too; one that has gone is new."""
    store.reset()
    with (
        serve(tmp_path, "django", "sync", store.patient_url, workers=1) as server,
        store.client() as client,
    ):
        visitor = Visitor(server.port)
        visitor.get("/expiring")
        (key,) = (key for key in client.scan_iter() if client.type(key) == b"hash")
        assert 200_000 < int(client.pttl(key)) <= 300_000
        client.pexpire(key, 100_000)
        visitor.get("/")
        assert 200_000 < int(client.pttl(key)) <= 300_000

        client.delete(key)
        before = dict(visitor.cookies)
        assert visitor.get("/status").json() == {"available": True, "seen": 1}
        assert visitor.cookies != before


def test_the_number_of_sessions_is_shown(store: RedisServer, tmp_path: Path) -> None:
    """Sessions that were begun are counted over all workers; a log-out takes one away."""
    store.reset()
    env = {"REDIS_URL": store.patient_url, "SESSION_SECRET": SECRET, "MONITORING_INTERVAL": "1"}
    app = "tests.apps.flask_sessions:app"
    with Gunicorn(tmp_path, app=app, workers=2, env=env) as server:
        # Whoever has logged in may have done so before anybody serves the metrics port.
        server.wait_for_workers(seconds=SECONDS)
        visitors = [login(server.port) for _ in range(5)]
        shown = [5]

        def tells() -> bool:
            points = [
                point
                for metric in server.ops("/api/metrics").json()["metrics"]
                if metric["name"] == "otelmon.session.active"
                for point in metric["points"]
            ]
            return [(point["attributes"], point["value"]) for point in points] == [({}, shown[0])]

        assert until(tells, SECONDS, every=0.2), server.ops("/api/metrics").text
        token = visitors[0].get("/token").text
        visitors[0].post("/logout", csrf_token=token)
        shown[0] = 4
        assert until(tells, SECONDS, every=0.2), server.ops("/api/metrics").text
