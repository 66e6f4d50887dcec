"""A gunicorn that had traffic and lost workers, and a Prometheus that saw all of it."""

from __future__ import annotations

import contextlib
import http.client
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.gunicorn_server import Answer, Gunicorn
from tests.load import Tally
from tests.prometheus_server import Prometheus, Sample, Target
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


TOKEN: Final = "a-token=of/the_test"
BEARER: Final = {"Authorization": f"Bearer {TOKEN}"}
BASIC: Final = {"username": "anybody", "password": TOKEN}
KILLS: Final = 4
JOBS: Final = ("app", "port")

# How often each is sent, and how it is booked: method, endpoint, status.
TRAFFIC: Final = (
    (("GET", "/ok"), ("GET", "/ok", "200"), 150),
    (("HEAD", "/status/204"), ("HEAD", "/status/<code>", "204"), 5),
    (("POST", "/body"), ("POST", "/body", "200"), 20),
    (("BREW", "/ok"), ("_OTHER", "/ok", "200"), 3),
    (("GET", "/status/404"), ("GET", "/status/<code>", "404"), 9),
    (("GET", "/status/503"), ("GET", "/status/<code>", "503"), 6),
    (("GET", "/raise"), ("GET", "/raise", "500"), 4),
    (("GET", "/midway"), ("GET", "/midway", "200"), 3),
    (("GET", "/no%20where/%C3%A9%22%5C"), ("GET", "{unmatched}", "404"), 7),
    (("GET", "/slow/0.2"), ("GET", "/slow/<seconds>", "200"), 8),
)
SENT: Final = {labels: times for _, labels, times in TRAFFIC}
ERRORS: Final = {"PlannedError": 7, "http_503": 6, "http_500": 0, "http_502": 0, "http_504": 0}


@dataclass(frozen=True)
class Site:
    """A server after its traffic, and the Prometheus that saw all of it."""

    server: Gunicorn
    prometheus: Prometheus
    began: float  # Unix time before the last scrape before the first request
    at: float  # Unix time after the last one was scraped by all jobs
    crowd: Tally  # what those saw whose workers were killed

    @property
    def window(self) -> str:
        """Return the time from before the traffic until `at` as PromQL says it."""
        return f"{int(self.at - self.began) + 2}s"

    def names(self) -> list[str]:
        """Return the names of all that is ours in Prometheus."""
        stored: list[str] = self.prometheus.api("label/__name__/values")
        return [name for name in stored if name.startswith(("app_", "otelmon_", "system_"))]

    def query(self, expression: str) -> list[Sample]:
        """Evaluate an expression as of the end of the traffic."""
        return self.prometheus.query(expression, self.at)

    def number(self, expression: str) -> float | None:
        """Evaluate an expression that gives one sample at most, as of the end of the traffic."""
        return self.prometheus.number(expression, self.at)

    def scrape(self, **headers: str) -> Answer:
        """Ask a worker for the metrics."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.get("/metrics", headers={**BEARER, **sent})


@contextlib.contextmanager
def scraped_site(directory: Path) -> Iterator[Site]:
    """Start both, send the traffic, kill workers under more of it; yield when all is scraped."""
    env = {"OTELMON_TOKEN": TOKEN, "MONITORING_INTERVAL": "1"}
    with (
        Gunicorn(directory, env=env) as server,
        Prometheus(directory, _targets(server)) as prometheus,
    ):
        assert until(lambda: _has_figures(server), 60), server.log
        # Before these scrapes: the window is to hold one from before the first request.
        began = time.time_ns() / 1e9
        prometheus.wait_for_scrapes(set(JOBS))
        _send(server)
        assert until(lambda: _is_idle(server)), server.log
        crowd = _kill_under(server, prometheus)
        assert until(lambda: _is_idle(server)), server.log
        at = prometheus.moment_of_scrapes(set(JOBS))
        yield Site(server, prometheus, began, at, crowd)


def _targets(server: Gunicorn) -> dict[str, Target]:
    bearer = {"authorization": {"credentials": TOKEN}}
    return {
        "app": Target(server.port, options=bearer),
        "port": Target(server.metrics_port, options={"basic_auth": BASIC}),
        "stranger": Target(server.metrics_port),
    }


def _has_figures(server: Gunicorn) -> bool:
    said = server.get("/api/metrics", headers=BEARER).json()
    return bool(said["workers"]["total"] == 4 and said["system"]["cpu_percent"] is not None)


def _shown(server: Gunicorn) -> int:
    total: int = server.get("/api/metrics", headers=BEARER).json()["workers"]["total"]
    return total


def _is_idle(server: Gunicorn) -> bool:
    # Some worker's: they all say the same.
    said = server.get("/api/metrics", headers=BEARER).json()
    return bool(said["application"]["active_connections"] == 0 and said["workers"]["total"] == 4)


def _send(server: Gunicorn) -> None:
    """Send the traffic in any order, eight at a time."""
    requests = [request for request, _, times in TRAFFIC for _ in range(times)]
    random.shuffle(requests)
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda request: _request(server, *request), requests))


def _request(server: Gunicorn, method: str, path: str) -> None:
    # /midway breaks off in the body.
    with contextlib.suppress(http.client.IncompleteRead):
        server.get(path, method=method, body=b"x" * 999 if method == "POST" else None)


def _kill_under(server: Gunicorn, prometheus: Prometheus) -> Tally:
    """Kill -9 one worker after the other under traffic, each between two scrapes."""
    over = threading.Event()
    with ThreadPoolExecutor(4) as clients:
        crowd = [clients.submit(_visit, server, over) for _ in range(4)]
        try:
            for _ in range(KILLS):
                prometheus.wait_for_scrapes({"app"})
                killed = random.choice(server.workers())
                killed.send_signal(signal.SIGKILL)
                killed.wait(20)
                # One that has not begun to serve is no loss, and the next might be that one.
                assert until(lambda: _shown(server) == 4), server.log
            prometheus.wait_for_scrapes({"app"})
        finally:
            over.set()
    tallies = [visitor.result() for visitor in crowd]
    return Tally(*map(sum, zip(*tallies, strict=True)))


def _visit(server: Gunicorn, over: threading.Event) -> Tally:
    attempts = completed = 0
    while not over.is_set():
        attempts += 1
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.get("/stream/0.02")
            completed += 1
    return Tally(attempts, completed)
