"""What the workers of a real gunicorn tell of themselves, beside what the kernel tells of them."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests import peek
from tests.gunicorn_server import Gunicorn
from tests.scrapes import Watch, samples
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


OFTEN = {"MONITORING_INTERVAL": "1"}
GAUGES = (
    *("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds"),
    *("process_max_fds", "process_threads", "process_start_time_seconds"),
    *("otelmon_process_proportional_memory_bytes", "otelmon_worker_beat_age_seconds"),
)
COUNTERS = (
    *("process_cpu_seconds_total", "python_gc_collections_total"),
    *("otelmon_gc_pause_seconds_total", "otelmon_worker_requests_total"),
)


@pytest.fixture(name="server", scope="module", params=["sync", "gevent"])
def _server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gunicorn]:
    """Start two workers, with the application loaded before they are forked in one of both cases."""
    directory = tmp_path_factory.mktemp(request.param)
    preload = request.param == "sync"
    with Gunicorn(
        directory, workers=2, worker_class=request.param, preload=preload, env=OFTEN
    ) as server:
        server.wait_for_workers()
        assert until(lambda: all(each["memory_pss"] for each in told(server)), 30), server.log
        yield server


def told(server: Gunicorn) -> list[dict[str, Any]]:
    """Return what `/api/metrics` says of each worker."""
    found: list[dict[str, Any]] = server.get("/api/metrics").json()["workers"]["each"]
    return found


def by_pid(server: Gunicorn) -> dict[int, dict[str, Any]]:
    """Return the same by process."""
    return {each["pid"]: each for each in told(server)}


def test_each_worker_is_known_in_full(server: Gunicorn) -> None:
    """Nothing is null once it was measured twice, and nothing has failed."""
    assert until(lambda: all(each["cpu_percent"] is not None for each in told(server)), 30)
    for each in told(server):
        assert None not in each.values()
        assert 0 < each["memory_pss"] <= each["memory_rss"] < each["memory_virtual"]
        assert each["cpu_seconds"] > 0
        assert list(each["gc"]) == ["0", "1", "2"]
    assert server.get("/health").json()["otelmon"]["faults"] == {}


def agrees(server: Gunicorn) -> bool:
    """Tell whether threads, files and limits are those that the kernel has of each worker now."""
    said = by_pid(server)
    for worker in server.workers():
        own, files = said[worker.pid], Path(f"/proc/{worker.pid}/fd")
        if own["threads"] != worker.num_threads() or own["open_fds"] != len(list(files.iterdir())):
            return False
    return True


def test_threads_and_files_are_the_kernel_s(server: Gunicorn) -> None:
    """To the digit, at a moment when neither comes or goes; the limit and the start always."""
    assert until(lambda: agrees(server), 30), by_pid(server)
    found = samples(server.get("/metrics").text)
    for worker in server.workers():
        slot = by_pid(server)[worker.pid]["slot"]
        limit = worker.rlimit(psutil.RLIMIT_NOFILE)[0]
        assert found[f'process_max_fds{{worker="{slot}"}}'] == limit
        started = found[f'process_start_time_seconds{{worker="{slot}"}}']
        assert started == pytest.approx(worker.create_time(), abs=1.5)


@pytest.mark.serial
def test_memory_is_what_ps_says(server: Gunicorn) -> None:
    """Within 2 %, and CPU time within a tenth of a second and the measurement's age."""

    def resident(pid: int) -> int:
        done = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True, text=True
        )
        return int(done.stdout) * 1024

    def near() -> bool:
        said = by_pid(server)
        return all(
            abs(said[each.pid]["memory_rss"] / resident(each.pid) - 1) < 0.02
            for each in server.workers()
        )

    assert until(near, 30), by_pid(server)
    for worker in server.workers():
        times = worker.cpu_times()
        assert times.user + times.system - by_pid(server)[worker.pid]["cpu_seconds"] < 0.6


def test_requests_of_a_worker_stand_under_its_slot(server: Gunicorn) -> None:
    """What each has begun, in JSON and in Prometheus, comes to all that were begun."""

    def begun() -> int:
        return sum(int(each["requests"]) for each in told(server))

    before = begun()
    for _ in range(10):
        server.get("/ok")
    assert until(lambda: begun() - before == 10)
    found = samples(server.get("/metrics").text)
    for each in told(server):
        assert (
            found[f'otelmon_worker_requests_total{{worker="{each["slot"]}"}}'] == each["requests"]
        )
    assert (
        found["otelmon_capacity"] == 2 if "sync" in server.log else "otelmon_capacity" not in found
    )


def test_promtool_finds_no_fault_with_them(server: Gunicorn) -> None:
    """Names, help texts, types and labels are as they should be, the windows' and workers' too."""
    assert until(lambda: "otelmon_window_requests_per_second" in server.ops("/metrics").text, 30)
    server.get("/ok")
    assert until(lambda: 'percentile="95"' in server.ops("/metrics").text, 30)
    text = server.ops("/metrics").body
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    names = {key.partition("{")[0] for key in samples(text.decode())}
    assert names >= {*GAUGES, *COUNTERS, "otelmon_start_time_seconds", "otelmon_build_info"}


def test_the_dead_take_their_gauges_and_leave_their_counts(tmp_path: Path) -> None:
    """Three kills: the gauges go with the process, unreplaced, and no counter ever falls."""
    with Gunicorn(tmp_path, workers=3, env=OFTEN) as server:
        server.wait_for_workers()
        watch = Watch()
        assert until(lambda: len(measured(server, watch)) == 3, 30), server.log
        for _ in range(3):
            victim = next(each for each in server.workers() if each.pid not in peek.served(server))
            slot = by_pid(server)[victim.pid]["slot"]
            with held(server):
                victim.kill()
                # Its last thread gives up the slot; until then it is not dead.
                assert until(lambda: not gauges(server, slot))  # noqa: B023
                found = watch.see(server.ops("/metrics").text)
                assert f'process_cpu_seconds_total{{worker="{slot}"}}' in found
            assert until(lambda: len(measured(server, watch)) == 3, 30), server.log
        assert watch.falls == []
        assert {key.partition("{")[0] for key in watch.last} >= set(COUNTERS)
        # What the dead have used is in the slot's count, and not in the process's own.
        total = sum(
            value
            for key, value in watch.last.items()
            if key.startswith("process_cpu_seconds_total")
        )
        assert total > sum(each["cpu_seconds"] for each in told(server))


def measured(server: Gunicorn, watch: Watch) -> list[str]:
    """Scrape once more; return the workers that have told their memory."""
    answer = server.try_ops("/metrics")
    if answer is None:
        return []
    watch.see(answer.text)
    return [key for key in samples(answer.text) if key.startswith("process_resident_memory")]


@contextlib.contextmanager
def held(server: Gunicorn) -> Iterator[None]:
    """Hold the arbiter, so that it starts no worker in a dead one's place."""
    arbiter = psutil.Process(server.pid)
    arbiter.suspend()
    try:
        yield
    finally:
        arbiter.resume()


def gauges(server: Gunicorn, slot: int) -> list[str]:
    """Return the gauges that are shown of a slot."""
    found = samples(server.ops("/metrics").text)
    return [name for name in GAUGES if f'{name}{{worker="{slot}"}}' in found]
