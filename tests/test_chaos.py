"""Nothing that is counted ever falls, whatever happens to the processes that count it."""

from __future__ import annotations

import contextlib
import http.client
import random
import signal
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest

from tests.gunicorn_server import Gunicorn
from tests.load import Load, Tally
from tests.scrapes import Watch, samples, total
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Judge = Callable[[Gunicorn, "Run"], None]


pytestmark = pytest.mark.serial

PATHS = ["/ok", "/status/404", "/status/500", "/stream/0.001", "/ok", "/missing", "/ok", "/ok"]


class Run(NamedTuple):
    """What one run of chaos did and saw."""

    watch: Watch
    tally: Tally
    seconds: float
    kills: int

    def describe(self) -> str:
        """Say how hard the run was."""
        return (
            f"{self.tally.attempts} requests ({self.tally.attempts / self.seconds:.0f}/s), "
            f"{self.tally.completed} completed, {self.watch.scrapes} scrapes "
            f"({self.watch.scrapes / self.seconds:.0f}/s), {self.kills} kills"
        )


def scrape(server: Gunicorn, watch: Watch) -> None:
    """Scrape a worker or the metrics port, in turn; nobody may be there to answer."""
    watch.attempts += 1
    ask = server.ops if watch.attempts % 2 else server.get
    answer = None
    with contextlib.suppress(OSError, http.client.HTTPException):
        answer = ask("/metrics", timeout=2)
    if answer is not None and answer.status == 200:
        watch.see(answer.text)


def kill_one(server: Gunicorn) -> int:
    """Kill a random worker, as soon as there is one; return how many were killed."""
    killed: list[psutil.Process] = []

    def kill() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            worker = random.choice(server.workers())
            worker.kill()
            killed.append(worker)
        return bool(killed)

    until(kill, 30)
    return len(killed)


def run(
    server: Gunicorn,
    seconds: float,
    actions: list[Callable[[], int]],
    *,
    paths: list[str],
    least: int = 0,
) -> Run:
    """Keep *server* under load and under watch for *seconds*, with *actions* spread over them.

    On a slow machine for longer: until there were *least* requests.
    """
    watch, stop = Watch(), threading.Event()

    def keep_watching() -> None:
        while not stop.is_set():
            scrape(server, watch)

    watcher = threading.Thread(target=keep_watching)
    load = Load(server.port, seconds, paths, least=least)
    started = time.monotonic()
    watcher.start()
    kills = 0
    try:
        for number, action in enumerate(actions, start=1):
            stop.wait(max(0.0, started + seconds * number / (len(actions) + 1) - time.monotonic()))
            kills += action()
            seen = watch.scrapes
            # What it did is to be seen before the next one does something.
            assert until(lambda: watch.scrapes > seen, 60), server.log[-2000:]  # noqa: B023
        tally = load.tally()
    finally:
        load.kill()
        stop.set()
        watcher.join()
    return Run(watch, tally, time.monotonic() - started, kills)


@pytest.fixture(name="judge")
def _judge(capsys: pytest.CaptureFixture[str]) -> Callable[[Gunicorn, Run], None]:
    def judge_aloud(server: Gunicorn, done: Run) -> None:
        # How hard the proof was is part of it, so it is said also where all is well.
        with capsys.disabled():
            print(f"\n{done.describe()}")  # noqa: T201 - see above
        judge_run(server, done)

    return judge_aloud


def judge_run(server: Gunicorn, done: Run) -> None:
    """Compare what was counted with what the clients saw, once all is quiet."""
    assert until(lambda: _quiet(server), 60, every=0.1), server.log[-2000:]
    found = done.watch.see(server.ops("/metrics").text)
    booked = total(found, "app_requests_total")
    lost = total(found, "app_requests_lost_total")
    started = total(found, "app_requests_started_total")
    assert done.watch.falls == []
    assert started == booked + lost
    assert done.tally.completed <= booked + lost <= done.tally.attempts


def _quiet(server: Gunicorn) -> bool:
    answer = server.try_ops("/api/metrics")
    return answer is not None and answer.json()["application"]["active_connections"] == 0


def kills(server: Gunicorn, count: int) -> list[Callable[[], int]]:
    """Return *count* kills of random workers."""
    return [lambda: kill_one(server)] * count


def send(server: Gunicorn, number: signal.Signals) -> Callable[[], int]:
    """Return an action that signals the arbiter."""

    def action() -> int:
        server.signal(number)
        return 0

    return action


@pytest.mark.timeout(300)
def test_totals_survive_kills_reloads_and_resizing(tmp_path: Path, judge: Judge) -> None:
    """30 kills of workers, HUP, USR2, TTIN and TTOU under load: nothing falls or is made up."""
    with Gunicorn(tmp_path) as server:
        server.wait_for_workers()
        actions = kills(server, 30)
        for at, number in (
            (4, signal.SIGTTIN),
            (8, signal.SIGHUP),
            (14, signal.SIGTTOU),
            (20, signal.SIGHUP),
        ):
            actions.insert(at, send(server, number))
        actions.insert(24, server.upgrade)
        done = run(server, 24, actions, paths=PATHS, least=5000)
        judge(server, done)
        assert done.kills == 30
        assert done.tally.attempts >= 5000
        assert done.watch.scrapes >= len(actions)


@pytest.mark.parametrize(
    ("worker_class", "preload"), [("gthread", False), ("gevent", False), ("sync", True)]
)
def test_totals_survive_in_every_worker_class(
    tmp_path: Path, judge: Judge, worker_class: str, *, preload: bool
) -> None:
    """Kills and a reload, under threads, greenlets and a preloaded application."""
    args = ("--threads", "4") if worker_class == "gthread" else ()
    with Gunicorn(tmp_path, worker_class=worker_class, preload=preload, args=args) as server:
        server.wait_for_workers()
        actions = kills(server, 8)
        actions.insert(4, send(server, signal.SIGHUP))
        done = run(server, 8, actions, paths=PATHS)
        judge(server, done)
        assert done.kills >= 6


@pytest.mark.parametrize("workers", [1, 4])
def test_totals_survive_recycling(tmp_path: Path, judge: Judge, workers: int) -> None:
    """With max_requests 20 hundreds of workers come and go, for moments none is there."""
    with Gunicorn(tmp_path, workers=workers, args=("--max-requests", "20")) as server:
        server.wait_for_workers()
        done = run(server, 8, [], paths=["/ok", "/status/500"])
        judge(server, done)
        deaths = total(done.watch.last, "otelmon_worker_deaths_total")
        assert deaths >= done.tally.completed / 20 - 2 * workers


def test_totals_survive_timeouts(tmp_path: Path, judge: Judge) -> None:
    """Workers that gunicorn aborts for their timeout lose what they had in flight, and no more."""
    # Loaded before: a worker whose start takes longer than that would never come to serve.
    with Gunicorn(tmp_path, preload=True, args=("--timeout", "1")) as server:
        server.wait_for_workers()
        done = run(server, 8, [], paths=["/ok"] * 20 + ["/slow/3"] + ["/ok"] * 180)
        judge(server, done)
        assert "WORKER TIMEOUT" in server.log


def test_what_an_application_measures_survives_too(tmp_path: Path, judge: Judge) -> None:
    """Its counters and histograms never fall, and say as much as its finished requests."""
    app = "tests.apps.shop_metrics:app"
    with Gunicorn(tmp_path, app=app, env={"SHOP_TROUBLE": "yes"}) as server:
        server.wait_for_workers()
        actions = kills(server, 12)
        actions.insert(6, send(server, signal.SIGHUP))
        done = run(server, 10, actions, paths=[f"/buy/{number}" for number in range(12)])
        judge(server, done)
        last = samples(server.get("/metrics").text)
        orders = total(last, "shop_orders_total")
        # A request that was killed may have been counted by the application, and by nobody else.
        lost = total(last, "app_requests_lost_total")
        booked = total(last, "app_requests_total")
        assert booked <= orders <= booked + lost
        assert booked <= total(last, "shop_wait_milliseconds_count") <= booked + lost
        assert booked <= total(last, "shop_revenue_EUR_total") * 4 <= booked + lost
        assert done.kills >= 10


def test_the_watch_would_see_a_ledger_that_forgets_the_dead(tmp_path: Path) -> None:
    """On a ledger that begins every slot at zero the same run sees totals fall."""
    with Gunicorn(tmp_path, app="tests.apps.forgetful:app") as server:
        server.wait_for_workers()
        done = run(server, 4, kills(server, 4), paths=PATHS)
        assert done.kills >= 3

        def has_fallen() -> bool:
            # It is seen once the dead have successors.
            scrape(server, done.watch)
            return bool(done.watch.falls)

        assert until(has_fallen, 60), done.describe()
