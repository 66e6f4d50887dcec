"""Windows and history of a real gunicorn whose keeper is killed every 3 s, for a minute."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest

from tests import peek
from tests.gunicorn_server import Gunicorn
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


PATH: Final = "/api/metrics/history"
KILLS: Final = 20
PAUSE: Final = 3.0
REQUESTS: Final = 30

# A starved keeper misses points by itself.
pytestmark = pytest.mark.serial


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """Serve 30 requests, and then survive twenty keepers."""
    directory = tmp_path_factory.mktemp("history")
    with Gunicorn(directory, workers=3, env={"MONITORING_INTERVAL": "1"}) as server:
        server.wait_for_workers()
        path = peek.ledger(server)
        assert until(lambda: points(path)), server.log
        for number in range(REQUESTS):
            server.get("/status/500" if number % 3 == 0 else "/ok")
        began = time.monotonic()
        for number in range(1, KILLS + 1):
            due = began + number * PAUSE
            assert until(lambda: time.monotonic() >= due, 60, every=0.02)  # noqa: B023
            assert until(lambda: len(peek.duty(server)) == 1)
            (keeper,) = peek.duty(server)
            psutil.Process(keeper).kill()
            assert until(lambda: not psutil.pid_exists(keeper)), server.log  # noqa: B023
        before = len(points(path))
        assert until(lambda: len(points(path)) >= before + 2, 30), server.log
        server.wait_for_workers()
        yield server


def points(path: Path) -> list[Any]:
    """Return the history as it lies in the file."""
    return list(peek.past(path).points)


def answers(server: Gunicorn, path: str) -> dict[int, Any]:
    """Return what each worker and the port (0) say between two states of the board."""
    said: dict[int, Any] = {}
    assert until(lambda: agreed(server, path, said), 60), server.log
    return said


def agreed(server: Gunicorn, path: str, said: dict[int, Any]) -> bool:
    """Ask everybody; tell whether all have answered before the board changed."""
    said.clear()
    ledger, everybody = peek.ledger(server), {0} | {each.pid for each in server.workers()}
    before = peek.read_board(ledger)
    port = server.try_ops(path)
    if port is not None:
        said[0] = port.json()
    while not everybody <= said.keys() and peek.read_board(ledger) == before:
        answer = server.get(path)
        said[int(answer.headers["X-Pid"])] = answer.json()
    return everybody == said.keys() and peek.read_board(ledger) == before


def test_each_keeper_goes_on_where_the_last_one_was_killed(server: Gunicorn) -> None:
    """No point is there twice, and at the most one for each kill is missing."""
    past = peek.past(peek.ledger(server))
    found = past.points

    assert len(found) <= past.number <= len(found) + KILLS
    # One a second, from the first to the last: what is not there is missing.
    due = round((found[-1].monotonic - found[0].monotonic) / 1e9) + 1
    assert KILLS * PAUSE < due <= len(found) + KILLS
    for before, after in pairwise(found):
        assert after.monotonic > before.monotonic
        # Two at a time would be one of each keeper.
        assert after.monotonic - before.monotonic > 0.5e9


def test_all_workers_and_the_port_tell_one_history(server: Gunicorn) -> None:
    """Each answers the same columns, in which times and counts only grow."""
    said = answers(server, PATH)
    first = said[0]

    assert all(each == first for each in said.values())
    assert first["times"] == sorted(set(first["times"]))
    counts = [each for each in first["series"]["request_count"] if each is not None]
    assert counts == sorted(counts)
    assert counts[-1] == REQUESTS
    assert first["series"]["cpu_percent"][-1] is not None
    assert first["series"]["worker_deaths"][-1] >= KILLS
    assert 33.333 in first["series"]["error_rate"]


def test_all_workers_and_the_port_have_the_same_windows(server: Gunicorn) -> None:
    """After all keepers the windows still know every request since the first of them."""
    said = answers(server, "/api/metrics")

    assert len({str(each["windows"]) + str(each["routes"]) for each in said.values()}) == 1
    window = said[0]["windows"]["900"]
    assert (window["count"], window["errors"]) == (REQUESTS, REQUESTS // 3)
    rows = [row["windows"]["900"] for row in said[0]["routes"]]
    assert sum(row["count"] for row in rows) == REQUESTS
    assert all(row["p50"] is not None for row in rows)


def known(said: Any) -> list[float]:  # noqa: ANN401 - JSON
    """Return the times of points, without those at which one should be and is missing."""
    counts = said["series"]["request_count"]
    return [at for at, count in zip(said["times"], counts, strict=True) if count is not None]


def test_a_part_of_the_history_can_be_asked_for(server: Gunicorn) -> None:
    """`since=` and `series=` work over HTTP, and what is wrong is 400."""
    times = known(server.get(PATH).json())
    found = server.get(f"{PATH}?since={times[-3]}&series=p95,request_count").json()

    assert list(found["series"]) == ["p95", "request_count"]
    assert known(found)[:2] == times[-2:]
    assert server.get(f"{PATH}?since=never").status == 400
