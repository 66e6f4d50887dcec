"""Alerts that the machine itself sets off: its CPU, its memory and its disk, worn out for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests import tmpfs
from tests.cgroups import MIB, real, wearing
from tests.gunicorn_server import Gunicorn
from tests.test_alerts_gunicorn import alert, stands
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cgroups import Real


# Both end by themselves, should nobody end them.
_BURN_CPU: Final = """
import sys, time
sys.stdin.readline()
end = time.monotonic() + 110
while time.monotonic() < end:
    pass
"""
_HOLD_MEMORY: Final = f"""
import select, sys
sys.stdin.readline()
held = bytearray({150 * MIB})
held[::4096] = b"x" * len(held[::4096])
select.select([], [], [], 110)
"""
_PAGES: Final = 1000
_ENV: Final = {
    "MONITORING_INTERVAL": "1",
    "ALERT_FOR_SECONDS": "0",
    "ALERT_RESOLVE_SECONDS": "0",
    "ALERT_CPU_THRESHOLD": "30",
    "ALERT_MEMORY_THRESHOLD": "70",
    "ALERT_DISK_THRESHOLD": "80",
    "ALERT_DISK_CRITICAL_THRESHOLD": "95",
}


@pytest.fixture(name="site", scope="module")
def _site(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Gunicorn, Real, Path]]:
    """Start a server that looks at a disk of its own, and move it into a group with limits."""
    directory = tmp_path_factory.mktemp("machine")
    with (
        real() as group,
        tmpfs.mounted(directory / "disk", pages=_PAGES) as disk,
        Gunicorn(directory, workers=2, env={**_ENV, "DISK_PATH": str(disk)}) as server,
    ):
        server.wait_for_workers()
        for pid in (server.pid, *(worker.pid for worker in server.workers())):
            group.take(pid)
        assert until(lambda: server.ops("/api/metrics").json()["system"]["cpu_count"] == 0.5, 40)
        yield server, group, disk


def becomes(server: Gunicorn, name: str, state: str, seconds: float) -> bool:
    """Wait until an alert is in a state; ask seldom, for to answer costs CPU time of the group."""
    return until(lambda: str(stands(server, name)).startswith(state), seconds, every=0.5)


@pytest.mark.serial
def test_a_busy_cpu_sets_off_its_alert(site: tuple[Gunicorn, Real, Path]) -> None:
    """A program that uses up the CPU raises it, its end resolves it."""
    server, group, _ = site
    assert becomes(server, "cpu", "ok", 60), alert(server, "cpu")
    with wearing(group, _BURN_CPU):
        assert becomes(server, "cpu", "firing", 40), server.log
        shown = alert(server, "cpu")
        assert shown["value"] > 30.0
        assert shown["samples"] >= 3
        assert server.get("/health").status == 200
        assert server.get("/health").json()["status"] == "degraded"
    assert becomes(server, "cpu", "ok", 60), alert(server, "cpu")


@pytest.mark.serial
def test_scarce_memory_sets_off_its_alert(site: tuple[Gunicorn, Real, Path]) -> None:
    """A program that holds much memory raises it, its end resolves it."""
    server, group, _ = site
    assert becomes(server, "memory", "ok", 40), alert(server, "memory")
    with wearing(group, _HOLD_MEMORY):
        assert becomes(server, "memory", "firing", 40), server.log
        assert alert(server, "memory")["value"] > 70.0
    assert becomes(server, "memory", "ok", 40), alert(server, "memory")


@pytest.mark.serial
def test_a_full_disk_sets_off_its_alert(site: tuple[Gunicorn, Real, Path]) -> None:
    """It fires, escalates as it fills up, and is resolved when files are removed."""
    server, _, disk = site
    assert becomes(server, "disk", "ok", 40), alert(server, "disk")
    tmpfs.leave(disk, _PAGES // 10)
    assert becomes(server, "disk", "firing warning", 40), alert(server, "disk")
    assert alert(server, "disk")["message"] == "Disk usage is 90% (warning above 80%)."
    tmpfs.leave(disk, _PAGES // 50)
    assert becomes(server, "disk", "firing critical", 40)
    (disk / "filler").unlink()
    assert becomes(server, "disk", "ok", 40)
    assert alert(server, "disk")["transitions"] == 3
