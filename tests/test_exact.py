"""After N finished requests every scrape says N, whoever answers it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.gunicorn_server import Answer, Gunicorn
from tests.scrapes import samples, total
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


REQUESTS = 1000
LEAST_PER_WORKER = 100


def said(answer: Answer) -> float:
    """Return how many requests a scrape says were finished."""
    return total(samples(answer.text), "app_requests_total")


def in_flight(server: Gunicorn) -> float:
    """Return how many requests the metrics port says are in flight."""
    return samples(server.ops("/metrics").text)["app_active_connections"]


def spread(server: Gunicorn, requests: int) -> Counter[int]:
    """Send *requests* from eight clients at once; return how many each slot answered."""
    with ThreadPoolExecutor(8) as clients:
        answers = clients.map(lambda _: server.get("/spin/0.003", timeout=60), range(requests))
        return Counter(answer.slot for answer in answers)


def scrape_all(server: Gunicorn, each: int, port: int) -> tuple[Counter[int], set[float]]:
    """Scrape until every worker answered *each* times, and the metrics port *port* times.

    Return who answered, and what they said.
    """
    figures = {said(server.ops("/metrics")) for _ in range(port)}
    answered: Counter[int] = Counter()

    def enough() -> bool:
        with ThreadPoolExecutor(8) as clients:
            for answer in clients.map(lambda _: server.get("/metrics"), range(24)):
                answered[answer.slot] += 1
                figures.add(said(answer))
        enough_each = len(answered) == 4 and min(answered.values()) >= each
        return enough_each and answered.total() >= 40

    assert until(enough, 60), answered
    return answered, figures


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
def test_every_worker_and_the_port_say_exactly_what_was_served(
    tmp_path: Path, worker_class: str, *, preload: bool
) -> None:
    """1,000 requests, or more until each of four workers had 100, are as many on all of 60 scrapes."""
    threads = ("--threads", "4") if worker_class == "gthread" else ()
    with Gunicorn(tmp_path, worker_class=worker_class, preload=preload, args=threads) as server:
        server.wait_for_workers()
        served = spread(server, REQUESTS)

        def all_had_some() -> bool:
            # Who gets how many is the kernel's to say.
            return len(served) == 4 and min(served.values()) >= LEAST_PER_WORKER

        assert until(lambda: all_had_some() or served.update(spread(server, 100)), 60), served
        assert until(lambda: in_flight(server) == 0)

        answered, figures = scrape_all(server, each=5, port=20)

        assert sum(answered.values()) >= 40
        assert figures == {served.total()}
