"""What an application measures with the OpenTelemetry API is exact over all of its workers."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.gunicorn_server import Answer, Gunicorn
from tests.scrapes import samples
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Shop:
    """A running shop, and how often it was asked for which number."""

    def __init__(self, server: Gunicorn) -> None:
        """Have asked for nothing yet."""
        self.server = server
        self.numbers: list[int] = []

    def buy(self, times: int) -> None:
        """Ask *times*, from eight clients at once."""
        numbers = range(len(self.numbers), len(self.numbers) + times)
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda n: self.server.get(f"/buy/{n}", timeout=60), numbers))
        assert {answer.status for answer in answers} == {200}
        self.numbers += numbers

    def lines(self) -> set[str]:
        """Return what every scrape must say of what was added so far."""
        said: set[str] = set()
        for size in range(3):
            times = sum(number % 3 == size for number in self.numbers)
            labels = f'{{kind="web",size="{size}"}}'
            said |= {
                f"shop_orders_total{labels} {times}",
                f"shop_revenue_EUR_total{labels} {times / 4}",
            }
        for express in (True, False):
            waits = [n % 7 * 20 for n in self.numbers if (n % 2 == 0) is express]
            label = f'express="{str(express).lower()}"'
            buckets = {"1.0": 1, "10.0": 10, "100.0": 100, "+Inf": 1000}
            said |= {
                f'shop_wait_milliseconds_bucket{{{label},le="{le}"}} '
                f"{sum(wait <= bound for wait in waits)}"
                for le, bound in buckets.items()
            }
            said |= {
                f"shop_wait_milliseconds_sum{{{label}}} {float(sum(waits))}",
                f"shop_wait_milliseconds_count{{{label}}} {len(waits)}",
            }
        return said

    def scrapes(self) -> list[str]:
        """Scrape until every worker and the metrics port have answered."""
        found: dict[str, str] = {}

        def all_answered() -> bool:
            with ThreadPoolExecutor(8) as clients:
                for answer in clients.map(lambda _: self.server.get("/metrics"), range(16)):
                    found[answer.headers["X-Pid"]] = answer.text
            return len(found) >= 4

        assert until(all_answered, 30), self.server.log
        return [*found.values(), self.server.ops("/metrics").text]

    def assert_exact(self) -> None:
        """Check that every scrape, and the JSON, say what was added."""
        wanted = self.lines()
        for text in self.scrapes():
            assert wanted - set(text.splitlines()) == set()
        points = measured(self.server)["shop.orders"]["points"]
        assert sum(point["value"] for point in points) == len(self.numbers)


def measured(server: Gunicorn) -> dict[str, Any]:
    """Return the instruments that `/api/metrics` shows, by name."""
    said = server.ops("/api/metrics").json()["metrics"]
    return {each["name"]: each for each in said}


def idle(server: Gunicorn) -> Callable[[], bool]:
    """Return whether four workers serve, and none of them is busy."""

    def check() -> bool:
        answer = server.try_ops("/api/metrics")
        said = answer.json() if answer is not None else {"workers": {"total": 0}}
        return said["workers"]["total"] == 4 and not said["application"]["active_connections"]

    return check


def kill(server: Gunicorn) -> None:
    """Kill -9 a worker that does nothing, and wait for the next."""
    assert until(idle(server)), server.log
    worker = server.workers()[0]
    worker.kill()
    assert until(lambda: worker not in server.workers() and len(server.workers()) == 4), server.log
    assert until(idle(server)), server.log


@pytest.mark.parametrize(
    ("worker_class", "preload"),
    [("sync", False), ("gthread", True), ("gevent", True)],
)
def test_every_kind_of_instrument_is_exact_through_kills_and_reloads(
    tmp_path: Path, worker_class: str, *, preload: bool
) -> None:
    """Counters, fractions and histograms say exactly what was added, whoever died meanwhile."""
    args = ("--threads", "4") if worker_class == "gthread" else ()
    with Gunicorn(
        tmp_path,
        app="tests.apps.shop_metrics:app",
        worker_class=worker_class,
        preload=preload,
        args=args,
    ) as server:
        server.wait_for_workers()
        shop = Shop(server)
        shop.buy(100)
        shop.assert_exact()
        kill(server)
        shop.buy(50)
        before = {worker.pid for worker in server.workers()}
        server.signal(signal.SIGHUP)
        assert until(lambda: before.isdisjoint(w.pid for w in server.workers())), server.log
        assert until(idle(server)), server.log
        shop.buy(50)
        shop.assert_exact()


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    env = {"MONITORING_INTERVAL": "1", "SHOP_TROUBLE": "yes"}
    with Gunicorn(
        tmp_path_factory.mktemp("shop"), app="tests.apps.shop_metrics:app", env=env
    ) as server:
        server.wait_for_workers()
        yield server


def by_pid(server: Gunicorn, path: str) -> dict[int, Answer]:
    """Ask until each worker has answered; return the answers by process."""
    found: dict[int, Answer] = {}

    def all_answered() -> bool:
        answer = server.get(path)
        found[int(answer.headers["X-Pid"])] = answer
        return len(found) == 4

    assert until(all_answered, 30), server.log
    return found


def said(server: Gunicorn, name: str) -> dict[str, float]:
    """Return what some worker shows of a family, by labels."""
    found = samples(server.get("/metrics").text)
    return {key: value for key, value in found.items() if key.partition("{")[0] == name}


def test_what_is_of_a_process_goes_with_it_and_what_is_of_all_stays(tmp_path: Path) -> None:
    """A killed worker takes its gauge and its share of a sum along, and not the last word."""
    with Gunicorn(tmp_path, app="tests.apps.shop_metrics:app") as server:
        server.wait_for_workers()
        answers = by_pid(server, "/buy/1")
        last = server.get("/buy/7")
        baskets = said(server, "shop_baskets")["shop_baskets"]
        heats = {f'shop_heat_celsius{{worker="{a.slot}"}}' for a in answers.values()}
        assert set(said(server, "shop_heat_celsius")) == heats
        assert baskets >= 5

        pid = int(last.headers["X-Pid"])
        victim = next(worker for worker in server.workers() if worker.pid == pid)
        victim.kill()
        gone = f'shop_heat_celsius{{worker="{last.slot}"}}'
        # Its threads die one by one, and the last of them lets go of the slot.
        assert until(lambda: set(said(server, "shop_heat_celsius")) == heats - {gone}), server.log
        assert said(server, "shop_baskets")["shop_baskets"] < baskets
        assert said(server, "shop_imported")["shop_imported"] == 7


def test_observables_are_asked_in_every_worker(server: Gunicorn) -> None:
    """Each worker reports for itself; what is declared a sum is added up over the live ones."""

    def told() -> bool:
        found = samples(server.ops("/metrics").text)
        pids = {value for key, value in found.items() if key.startswith("shop_pid{")}
        jobs = found.get('shop_jobs{queue="mail"}')
        return pids == {worker.pid for worker in server.workers()} and jobs == 12

    assert until(told), server.ops("/metrics").text


def test_signal_handlers_and_garbage_collection_may_record(server: Gunicorn) -> None:
    """A handler and a GC callback that interrupt the application's recording lose nothing."""
    pid, sent = server.workers()[0].pid, 0

    def counted() -> float:
        found = samples(server.ops("/metrics").text)
        return found.get('shop_signals_total{signal="USR2"}', 0.0)

    for _ in range(20):
        before = counted()

        def once(before: float = before) -> bool:
            return counted() == before + 1

        for worker in server.workers():
            if worker.pid == pid:
                worker.send_signal(signal.SIGUSR2)
                sent += 1
        assert until(once), (before, counted())
        for number in range(20):
            server.get(f"/buy/{number}")
    assert counted() == sent
    assert samples(server.ops("/metrics").text)["shop_collections_total"] > 0


def told_by(server: Gunicorn, name: str) -> set[int]:
    """Return which workers have told of an instrument; each is asked at its beat."""
    return {point["worker"] for point in measured(server)[name]["points"]}


def test_json_and_health_say_what_is_measured_and_by_whom(server: Gunicorn) -> None:
    """Names, kinds, units and scopes are shown, and that the API's global provider is otelmon's."""
    server.get("/buy/3")
    found = measured(server)
    assert found["shop.orders"]["kind"] == "counter"
    assert found["shop.orders"]["unit"] == "{order}"
    scope = {"name": "shop", "version": "2.1", "schema_url": "https://example.org/schema"}
    assert found["shop.orders"]["scope"] == scope
    assert found["shop.wait"]["bounds"] == [1.0, 10.0, 100.0]
    (wait,) = [p for p in found["shop.wait"]["points"] if p["attributes"] == {"express": False}]
    assert wait["count"] == sum(wait["buckets"]) > 0
    assert until(lambda: told_by(server, "shop.pid") == {0, 1, 2, 3}), measured(server)
    assert server.get("/health").json()["otelmon"]["opentelemetry"].startswith("global")
