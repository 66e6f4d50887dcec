"""RateLimit under a real gunicorn: one limit for all workers, through kills, reloads and upgrades."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.gunicorn_server import Gunicorn
from tests.hammering import DIED, hammer
from tests.redis_server import RedisServer
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


APP = "tests.apps.rate_limited:app"
EXACTLY = {200: 100, 429: 140}
ASKED = 240
_MOST_KILLS = 12


# No minute, of which a part is over when a server has been reloaded, or a machine has stood still.
HOURLY = {"RATE_LIMIT": "100/hour"}


def _server(directory: Path, app: str = APP, **options: object) -> Gunicorn:
    return Gunicorn(directory, app=app, **{"env": HOURLY, **options})  # type: ignore[arg-type]


def _files(server: Gunicorn) -> list[str]:
    return sorted(path.name for path in server.ledgers.glob("*.limits"))


@contextlib.contextmanager
def _killing(server: Gunicorn) -> Iterator[list[int]]:
    """Kill one worker after the other for the length of the block; yield the pids."""
    done = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not done.wait(0.2) and len(killed) < _MOST_KILLS:
            for worker in server.workers()[:1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
                    killed.append(worker.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("kind", "preload", "args"),
    [
        ("sync", False, ()),
        ("sync", True, ("--max-requests", "20")),
        ("gthread", False, ("--threads", "4")),
        ("gevent", True, ()),
    ],
)
def test_exactly_the_limit_passes_over_four_workers(
    tmp_path: Path, kind: str, preload: bool, args: tuple[str, ...]
) -> None:
    """Eight clients of one address hammer from idle: 100 requests pass, whoever answers them."""
    with _server(tmp_path, worker_class=kind, preload=preload, args=args) as server:
        assert hammer(server.port, times=ASKED) == EXACTLY, server.log


def test_a_reload_and_an_upgrade_keep_the_count(tmp_path: Path) -> None:
    """HUP and USR2 bring new workers and a new arbiter, and no new requests; there is one file."""
    with _server(tmp_path, workers=2) as server:
        assert hammer(server.port, times=40) == {200: 40}
        before = set(server.workers())
        server.signal(signal.SIGHUP)
        assert until(lambda: len(server.workers()) == 2 and not before & set(server.workers())), (
            server.log
        )
        assert hammer(server.port, times=40) == {200: 40}
        server.upgrade()
        assert hammer(server.port, times=40) == {200: 20, 429: 20}
        assert len(_files(server)) == 1


def test_killed_workers_never_give_more_than_the_limit(tmp_path: Path) -> None:
    """With kill -9 all the time at most 100 pass; what is missing was spent by who then died."""
    with _server(tmp_path) as server:
        found = Counter[int]()
        with _killing(server) as killed:
            while len(killed) < 4:
                found += hammer(server.port, times=40)
        found += hammer(server.port, times=120)
        assert 100 - found[DIED] <= found[200] <= 100
        assert hammer(server.port, times=20) == {429: 20}


def test_two_servers_on_one_machine_have_limits_of_their_own(tmp_path: Path) -> None:
    """They share a directory and no count; what an ended one left is removed by who starts next."""
    (tmp_path / "other").mkdir()
    with _server(tmp_path, workers=1) as one:
        with Gunicorn(
            tmp_path / "other", app=APP, workers=1, env={**HOURLY, "OTELMON_DIR": str(one.ledgers)}
        ) as other:
            assert hammer(one.port, times=120) == {200: 100, 429: 20}
            assert hammer(other.port, times=120) == {200: 100, 429: 20}
            assert len(_files(one)) == 2
        assert len(_files(one)) == 2
        with Gunicorn(
            tmp_path / "other", app=APP, workers=1, env={**HOURLY, "OTELMON_DIR": str(one.ledgers)}
        ) as third:
            assert third.get("/ok").status == 200
            assert len(_files(one)) == 2
            assert one.get("/ok").status == 429


def test_what_monitor_answers_is_not_limited_and_429_is_counted(tmp_path: Path) -> None:
    """Probes and scrapes pass at the limit; figures tell outcomes, and no client."""
    with _server(tmp_path, "tests.apps.rate_limited_monitored:app", workers=2) as server:
        server.wait_for_workers()
        assert hammer(server.port, times=120) == {200: 100, 429: 20}
        assert hammer(server.port, times=10, path="/livez") == {200: 10}
        behind = {"X-Forwarded-For": "9.9.9.9"}
        assert hammer(server.port, times=120, headers=behind) == {200: 120}
        lines = [each for each in server.get("/metrics").text.splitlines() if "rate_limit" in each]
        for outcome, times in (("allowed", 100), ("limited", 20), ("unknown_client", 120)):
            assert any(
                f'="{outcome}"' in each and each.endswith(f"}} {times}") for each in lines
            ), lines
        assert not any(address in "".join(lines) for address in ("127.0.0.1", "9.9.9.9"))


def test_a_client_that_forges_its_address_gains_nothing_behind_a_trusted_proxy(
    tmp_path: Path,
) -> None:
    """With TRUSTED_PROXIES=1 the last entry counts, which the proxy wrote; what stands before it
    gives the client no more, and takes nothing from whom it names."""
    with _server(tmp_path, workers=2, env={**HOURLY, "TRUSTED_PROXIES": "1"}) as server:
        forged = {"X-Forwarded-For": "9.9.9.9, 8.8.8.8, 203.0.113.9"}
        assert hammer(server.port, times=60, headers=forged) == {200: 60}
        other = {"X-Forwarded-For": "5.5.5.5, 203.0.113.9"}
        assert hammer(server.port, times=60, headers=other) == {200: 40, 429: 20}
        framed = {"X-Forwarded-For": "8.8.8.8"}
        assert server.get("/ok", headers=framed).status == 200


@pytest.mark.serial  # a Redis that is given no time within its deadline is one that failed
def test_in_redis_too_exactly_the_limit_passes(tmp_path: Path) -> None:
    """Two servers that share a Redis share a limit, and kills admit nobody more; while Redis hangs
    all pass."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with RedisServer(tmp_path) as redis:
        # Longer than by default, and not so long that to be without it takes for ever.
        url = f"{redis.url}?socket_timeout=2&socket_connect_timeout=2"
        env = {**HOURLY, "REDIS_URL": url, "TRUSTED_PROXIES": "1"}
        with (
            _server(tmp_path / "one", workers=2, env=env) as one,
            _server(tmp_path / "two", workers=2, env=env) as two,
        ):
            found = hammer(one.port, times=80) + hammer(two.port, times=80)
            assert found == {200: 100, 429: 60}, one.log + two.log
            assert _files(one) == _files(two) == []
            redis.hang()
            assert hammer(two.port, times=20) == {200: 20}
            redis.go_on()
            other = {"X-Forwarded-For": "203.0.113.9"}
            found.clear()
            with _killing(one) as killed:
                while len(killed) < 3:
                    found += hammer(one.port, times=40, headers=other)
            found += hammer(one.port, times=120, headers=other)
            assert 100 - found[DIED] <= found[200] <= 100
