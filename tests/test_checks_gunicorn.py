"""Health checks of a real gunicorn: servers that hang or refuse, and a file for readiness."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psutil
import pytest

from tests import peek
from tests.free_ports import free_port
from tests.gunicorn_server import Gunicorn
from tests.postgres_server import Postgres
from tests.redis_server import redis_server
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# How much longer than without a check that hangs an answer may take, by the median of many.
MOST_RATIO: Final = 5
ASKED: Final = 40


class Site(NamedTuple):
    """A server, what is critical to it, and the file that makes it ready."""

    server: Gunicorn
    redis: psutil.Process
    database: Postgres
    ready: Path

    def hang(self, name: str) -> None:
        """Stop what a check asks."""
        if name == "redis":
            self.redis.suspend()
        else:
            self.database.hang()

    def resume(self, name: str) -> None:
        """Let it go on."""
        if name == "redis":
            self.redis.resume()
        else:
            self.database.resume()

    def connections(self, name: str) -> int:
        """Return how many connections the workers have with what a check asks."""
        port = _port(self.redis) if name == "redis" else self.database.port
        return sum(
            getattr(each.raddr, "port", None) == port
            for worker in self.server.workers()
            for each in worker.net_connections("tcp")
        )

    def services(self) -> dict[str, Any]:
        """Return what a worker says."""
        found: dict[str, Any] = self.server.get("/health").json()["services"]
        return found

    def becomes(self, name: str, status: str) -> bool:
        """Wait until a check is so."""

        def is_so() -> bool:
            return bool(self.services().get(name, {}).get("status") == status)

        return until(is_so, 30, every=0.1)


BOTH: Final = pytest.mark.parametrize("site", ["sync", "gevent"], indirect=True, scope="module")
SYNC: Final = pytest.mark.parametrize("site", ["sync"], indirect=True, scope="module")


@pytest.fixture(name="site", scope="module")
def _site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("checks")
    ready = directory / "ready"
    ready.touch()
    with redis_server(directory) as url, Postgres() as database:
        (redis,) = (
            child for child in psutil.Process().children() if f":{_port(child)}/" in f"{url}/"
        )
        env = {
            "CHECK_REDIS": url,
            "CHECK_DATABASE": database.url("postgres"),
            "CHECK_OTHER_REDIS": f"redis://127.0.0.1:{free_port()}/0",
            "CHECK_READY": str(ready),
            "HEALTH_CHECK_INTERVAL": "1",
            # Nothing that answers is down because the machine was busy.
            "HEALTH_CHECK_TIMEOUT": "4",
            "MONITORING_INTERVAL": "1",
        }
        with Gunicorn(
            directory,
            app="tests.apps.checked:app",
            workers=2,
            worker_class=request.param,
            args=("-c", "python:otelmon.gunicorn"),
            env=env,
        ) as server:
            server.wait_for_workers(seconds=60)
            site = Site(server, redis, database, ready)
            assert site.becomes("redis", "up"), server.log
            assert site.becomes("database", "up"), server.log
            assert site.becomes("cache", "down"), server.log
            yield site


def _port(process: psutil.Process) -> int | None:
    """Return the port that a process listens on."""
    listening = (
        each.laddr.port for each in process.net_connections("tcp") if each.status == "LISTEN"
    )
    return next(listening, None)


@BOTH
def test_all_processes_tell_the_same_of_the_checks(site: Site) -> None:
    """Each worker and the process of the metrics port show the keeper's results."""
    said: dict[int, Any] = {}

    def everybody_has_answered() -> bool:
        answer = site.server.get("/health")
        said[int(answer.headers["X-Pid"])] = answer.json()
        said[0] = site.server.ops("/health").json()
        return len(said) == 3 and len({_lasting(each) for each in said.values()}) == 1

    assert until(everybody_has_answered, 30), said
    assert said[0]["status"] == "degraded"
    services = said[0]["services"]
    # Another test may have registered one more.
    assert {name: each["status"] for name, each in services.items() if name != "late"} == {
        "disk": "up",
        "redis": "up",
        "database": "up",
        "cache": "down",
        "warm": "up",
    }
    assert services["cache"]["error"] == "ConnectionError"
    assert services["redis"]["critical"]


def _lasting(said: dict[str, Any]) -> str:
    """Return what of the checks does not change from one round to the next."""
    changing = ("checked_at", "age_seconds", "latency_ms")
    return str(
        {
            name: {field: value for field, value in each.items() if field not in changing}
            for name, each in said["services"].items()
        }
    )


@BOTH
@pytest.mark.parametrize("name", ["redis", "database"])
def test_a_server_that_hangs_holds_up_nothing(site: Site, name: str) -> None:
    """/health tells that it is down and since when, as fast as ever, and comes back with it."""
    idle = _median_time(site)
    site.hang(name)
    try:
        assert site.becomes(name, "down"), site.server.log
        # Whoever waited for it would do so at all times, and not only when a machine is busy.
        assert until(lambda: _median_time(site) < MOST_RATIO * idle, 60)
        answer = site.server.get("/health")
        service = answer.json()["services"][name]
        assert (answer.status, answer.json()["status"]) == (503, "unhealthy")
        assert (service["error"], service["latency_ms"]) == ("timeout", None)
        assert service["since"] <= service["checked_at"]
        # The judgement is renewed, and the keeper has one thread there, not one for each round.
        assert until(lambda: site.services()[name]["checked_at"] > service["checked_at"], 30)
        assert until(lambda: site.services()[name]["since"] == service["since"])
        assert until(lambda: site.connections(name) == 1)
        assert site.server.ops("/health").status == 503
        assert {site.server.get(path).status for path in ("/livez", "/readyz", "/ok")} == {200}
    finally:
        site.resume(name)
    assert site.becomes(name, "up"), site.server.log
    assert site.server.get("/health").status == 200


def _median_time(site: Site) -> float:
    times = []
    for _ in range(ASKED):
        began = time.monotonic_ns()
        site.server.get("/health")
        times.append(time.monotonic_ns() - began)
    return statistics.median(times)


@BOTH
def test_a_database_that_refuses_is_down_until_it_is_back(site: Site) -> None:
    """Its error is told by its class, /livez goes on, and nothing must be done when it comes back."""
    site.database.crash()
    try:
        assert site.becomes("database", "down"), site.server.log
        assert until(lambda: site.services()["database"]["error"] == "OperationalError", 30)
        assert (site.server.get("/health").status, site.server.get("/livez").status) == (503, 200)
    finally:
        site.database.start()
    assert site.becomes("database", "up"), site.server.log


@SYNC
def test_a_check_for_readiness_keeps_requests_away(site: Site) -> None:
    """/readyz is 503 while it is down, everywhere; /health is 200, as it is not critical."""
    site.ready.unlink()
    try:
        assert until(lambda: site.server.get("/readyz").status == 503, 30), site.server.log
        assert site.server.get("/readyz?verbose").json()["not_ready"] == ["warm"]
        assert until(lambda: site.server.ops("/readyz").status == 503, 30)
        assert (site.server.get("/health").status, site.server.get("/livez").status) == (200, 200)
        assert site.services()["warm"]["error"] == "FileNotFoundError"
    finally:
        site.ready.touch()
    assert until(lambda: site.server.get("/readyz").status == 200, 30), site.server.log


@SYNC
def test_a_check_registered_after_the_fork_is_asked(site: Site) -> None:
    """What the keeper's process registers while it serves is asked too."""
    (keeper,) = peek.duty(site.server)
    said: set[int] = set()

    def keeper_has_it() -> bool:
        said.add(int(site.server.get("/checks/add").headers["X-Pid"]))
        return keeper in said

    assert until(keeper_has_it, 30)
    assert site.becomes("late", "up"), site.server.log


@SYNC
def test_each_change_was_logged_once(site: Site) -> None:
    """However many rounds there were since, the log has one line of the cache that refuses."""
    lines = [line for line in site.server.log.splitlines() if "health check cache" in line]

    assert len(lines) == 1, lines
    assert "is down (ConnectionError)" in lines[0]
