"""Under every server the figures are exact: from any process, through kills and reloads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.held_locks import locks_on
from tests.load import Load
from tests.scrapes import Watch, samples, total
from tests.server_kinds import FORKING, KINDS, SINGLE
from tests.server_process import ServerProcess, is_open
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path

    from tests.gunicorn_server import Answer


REQUESTS: Final = 200
AT_BOOT: Final = "gunicorn tornado"
"""Of these workers is known before any request; of all others at the first one."""


def finished(answer: Answer) -> float:
    """Return how many requests a scrape says were finished."""
    return total(samples(answer.text), "app_requests_total")


def figures(server: ServerProcess) -> Any:  # noqa: ANN401 - as the JSON has it
    """Return `/api/metrics` of the metrics port; None if for the moment nobody serves it."""
    answer = server.ops("/api/metrics")
    return None if answer is None else answer.json()


def spread(server: ServerProcess) -> None:
    """Send some hundred requests from several clients at once."""
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(server.get, ["/spin/0.002"] * REQUESTS))
    assert {answer.status for answer in answers} == {200}


def said(server: ServerProcess, workers: int, watch: Watch) -> set[float]:
    """Scrape until every one of *workers* processes and the port answered; return what they say."""
    # A request is booked when its body is closed, which may be after the client has it.
    assert until(lambda: is_idle(server), 60), server.log
    pids: set[str] = set()
    answer = server.ops("/metrics")
    found = set() if answer is None else {finished(answer)}

    def all_answered() -> bool:
        # One after the other, or an older one might be seen after a newer one.
        answer = server.get("/metrics")
        watch.see(answer.text)
        pids.add({name.lower(): value for name, value in answer.headers.items()}["x-pid"])
        found.add(finished(answer))
        return len(pids) == workers

    assert until(all_answered, 60), (pids, server.log)
    return found


def is_idle(server: ServerProcess) -> bool:
    """Tell whether no request is in flight."""
    said = server.get("/api/metrics").json()
    return bool(said["application"]["active_connections"] == 0)


def is_served(server: ServerProcess) -> bool:
    """Tell whether the metrics port answers, and knows the host."""
    found = figures(server)
    return found is not None and found["system"]["memory_total"] is not None


def is_quiet(server: ServerProcess) -> bool:
    """Tell whether no request is in flight, as the metrics port says."""
    found = figures(server)
    return found is not None and found["application"]["active_connections"] == 0


def kill_under_load(server: ServerProcess, watch: Watch) -> None:
    """Kill the process that serves the metrics port while clients send requests."""
    before = figures(server)["application"]["request_count"]
    load = Load(server.port, 0.7, ["/ok"], clients=2)
    try:
        assert until(lambda: figures(server)["application"]["request_count"] > before)
        victim = server.server_of(server.metrics_port)
        assert victim is not None
        assert victim.pid != server.pid
        victim.kill()
        while load.running:
            answer = server.ops("/metrics")
            if answer is not None:
                watch.see(answer.text)
        tally = load.tally()
    finally:
        load.kill()
    assert until(lambda: is_quiet(server)), server.log
    now = figures(server)
    counted = now["application"]["request_count"] - before
    lost = now["workers"]["lost_requests"]
    assert tally.completed <= counted
    assert counted + lost <= tally.attempts
    assert now["workers"]["deaths"] >= 1


def reload(server: ServerProcess) -> None:
    """Have the server replace its workers; wait until all that answer are new."""
    assert server.kind.reload is not None
    old = {process.pid for process in server.family()} - {server.pid}
    os.kill(server.pid, server.kind.reload)

    def replaced() -> bool:
        return not old & {process.pid for process in server.family()} and server.answers("/livez")

    assert until(replaced, 60, every=0.05), server.log


def begins(server: ServerProcess) -> None:
    """Check that nothing is taken before the first request; send it."""
    assert not server.ledgers.exists()
    assert not is_open(server.metrics_port)
    # granian's own process takes the port for a moment before there are workers.
    assert until(lambda: server.answers("/ok")), server.log
    assert until(lambda: is_served(server)), server.log


def tells_the_truth(server: ServerProcess) -> None:
    """Check what `/health` and `/readyz` say of a server that is well."""
    # After a standstill the keeper's figures are old for a moment.
    assert until(lambda: server.get("/health").json()["status"] == "healthy"), server.log
    assert server.get("/readyz").status == 200
    health = server.get("/health").json()
    assert health["otelmon"]["ledger"] == "shared"
    assert health["otelmon"]["faults"] == {}, server.log


def leaves_nothing(server: ServerProcess) -> None:
    """End the server; check that no process, port or lock outlives it."""
    server.end()
    assert server.left() == [], server.log
    assert not is_open(server.port)
    assert not is_open(server.metrics_port)
    assert [path for path in server.ledgers.iterdir() if locks_on(path)] == []


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_process_counts_exactly_from_its_first_request(tmp_path: Path, name: str) -> None:
    """201 requests are 201 on both ports; nothing is there before the first and after the end."""
    watch = Watch()
    with ServerProcess(KINDS[name], tmp_path) as server:
        begins(server)
        spread(server)
        assert said(server, 1, watch) == {REQUESTS + 1}
        tells_the_truth(server)
        leaves_nothing(server)


@pytest.mark.parametrize("name", FORKING)
def test_every_process_and_the_port_say_exactly_what_was_served(tmp_path: Path, name: str) -> None:
    """201 requests are 201 from any process; through a kill -9 and a reload nothing falls."""
    watch = Watch()
    with ServerProcess(KINDS[name], tmp_path) as server:
        if name == AT_BOOT:
            assert until(lambda: is_served(server)), server.log
            assert server.get("/ok").status == 200
        else:
            begins(server)
        spread(server)
        assert said(server, server.kind.workers, watch) == {REQUESTS + 1}
        tells_the_truth(server)

        kill_under_load(server, watch)
        (count,) = said(server, server.kind.workers, watch)

        reload(server)
        for _ in range(20):
            assert server.get("/ok").status == 200
        assert until(lambda: is_served(server)), server.log
        assert said(server, server.kind.workers, watch) == {count + 20}
        assert watch.falls == []
        leaves_nothing(server)
