"""A server in a control group of the kernel's, which a neighbour in the same group wears out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests import peek
from tests.cgroups import MIB, real, wearing
from tests.gunicorn_server import Gunicorn
from tests.test_keeper import Watch
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cgroups import Real


# It ends by itself, should nobody end it.
_BURN = f"""
import sys, time
sys.stdin.readline()
held = bytearray({120 * MIB})
held[::4096] = b"x" * len(held[::4096])
end = time.monotonic() + 110
while time.monotonic() < end:
    pass
"""


def shown(server: Gunicorn) -> dict[str, Any]:
    """Return `/api/metrics`."""
    found: dict[str, Any] = server.ops("/api/metrics").json()
    return found


def is_worn_out(server: Gunicorn) -> bool:
    """Tell whether the CPU's share is within 5 points of all there is."""
    percent = shown(server)["system"]["cpu_percent"]
    return percent is not None and percent >= 95.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Real, Gunicorn]]:
    """Start a server, and then move all of it into the group."""
    with (
        real() as group,
        Gunicorn(tmp_path, workers=2, env={"MONITORING_INTERVAL": "2"}) as server,
    ):
        server.wait_for_workers()
        assert until(lambda: shown(server)["system"]["source"]["cpu"] == "host")
        for pid in (server.pid, *(worker.pid for worker in server.workers())):
            group.take(pid)
        with wearing(group, _BURN):
            assert until(lambda: group.memory() > 120 * MIB, 30)
            assert until(lambda: is_worn_out(server), 40), shown(server)
            yield group, server


@pytest.mark.serial
def test_the_kernel_s_own_limits_are_reported(site: tuple[Real, Gunicorn]) -> None:
    """Half a CPU that is used up is 100 %, and 200 MiB are all the memory that there is."""
    group, server = site
    assert until(lambda: is_worn_out(server))
    found, memory = shown(server), group.memory()
    system, container = found["system"], found["container"]

    assert (system["source"]["cpu"], system["source"]["memory"]) == ("container", "container")
    assert (system["cpu_count"], system["memory_total"]) == (0.5, 200 * MIB)
    assert system["memory_percent"] == pytest.approx(100 * memory / (200 * MIB), abs=5)
    assert system["memory_total_host"] > 200 * MIB
    assert system["cpu_count_host"] >= 1
    assert container["throttling"]["throttled_periods"] > 0
    assert container["pids"]["current"] >= 4
    assert b"system_container_cpu_limit 0.5\n" in server.ops("/metrics").body


@pytest.mark.serial
def test_the_next_keeper_goes_on_with_the_container_s_share(site: tuple[Real, Gunicorn]) -> None:
    """The baseline is on the board: from one keeper to the next no sample is without a share."""
    _, server = site
    with Watch(server) as watch:
        assert until(lambda: watch.boards)
        old, count = peek.duty(server), len(watch.boards)
        for pid in old:
            psutil.Process(pid).kill()
        assert until(lambda: len(watch.boards) >= count + 2, 30), server.log
        assert until(lambda: peek.duty(server) - old), "another one took over"
    rows = [board.published.host for board in watch.boards]
    assert None not in [row["container_cpu_percent"] for row in rows]
