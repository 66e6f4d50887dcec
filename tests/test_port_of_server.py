"""The metrics port of a running server: taken, freed, any, and after the server was killed."""

from __future__ import annotations

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil

from tests.free_ports import free_port
from tests.gunicorn_server import Gunicorn, ask
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """Be another program that has a port, as a Prometheus server has 9090."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


def states(server: Gunicorn) -> list[dict[str, Any]]:
    """Return what each worker says of the metrics port."""
    found = []
    for worker in server.workers():
        with server.only(worker):
            found.append(server.get("/health").json()["otelmon"]["port"])
    return found


def figures(server: Gunicorn) -> tuple[int, int]:
    """Return how many workers there are, and how many requests were booked."""
    said = server.get("/api/metrics").json()
    return said["workers"]["total"], said["application"]["request_count"]


def test_a_taken_port_is_said_once_shown_and_taken_over_when_it_is_free(tmp_path: Path) -> None:
    """The application runs on; the log has one line of it; once freed the port answers."""
    port = free_port()
    env = {"PROMETHEUS_PORT": str(port)}
    with contextlib.ExitStack() as other:
        # Before the server is started: its first worker would be the faster one now and then.
        other.enter_context(taken(port))
        with Gunicorn(tmp_path, workers=3, env=env) as server:
            assert until(lambda: len(server.workers()) == 3)
            failed = {"state": "failed", "port": port, "error": "EADDRINUSE"}
            assert until(lambda: failed in states(server)), server.log
            for _ in range(20):
                assert server.get("/ok").text == "ok"
            assert until(lambda: figures(server) == (3, 20)), figures(server)
            # It goes on trying, and says no more of it.
            assert until(lambda: attempts(server) >= 3, 60), server.log
            assert server.log.count("metrics_port failed") == 1
            assert f"127.0.0.1:{port}" in server.log
            other.close()
            # The pauses between two tries grow, the longer it took to ask everybody.
            assert until(lambda: reachable(port), 60), server.log
            assert ask(port, "/api/metrics").json()["application"]["request_count"] == 20
            assert {state["state"] for state in states(server)} == {"serving", "elsewhere"}


def attempts(server: Gunicorn) -> int:
    """Return how often the port was tried without success, by whichever worker."""
    faults = server.get("/health").json()["otelmon"]["faults"]
    return int(faults.get("metrics_port", {"times": 0})["times"])


def reachable(port: int) -> bool:
    """Tell whether somebody answers there."""
    with contextlib.suppress(OSError):
        return ask(port, "/livez").status == 200
    return False


def test_any_free_port_is_one_port_that_all_workers_name(tmp_path: Path) -> None:
    """With PROMETHEUS_PORT=0 one worker takes a free port, and all say which one it is."""
    with Gunicorn(tmp_path, workers=3, env={"PROMETHEUS_PORT": "0"}) as server:

        def named() -> set[int]:
            return {state["port"] for state in states(server)}

        assert until(lambda: len(named()) == 1 and named() != {0}), server.log
        (port,) = named()
        assert port != server.port
        assert ask(port, "/api/metrics").json()["workers"]["total"] == 3
        (holder,) = server.listeners()[port]
        psutil.Process(holder).kill()
        # Until then it is listed among those that are asked.
        assert until(lambda: not psutil.pid_exists(holder)), server.log
        assert until(lambda: len(named()) == 1 and named() != {port}, 60), server.log
        (port,) = named()
        assert reachable(port)


def test_after_the_arbiter_was_killed_its_successor_gets_the_port(tmp_path: Path) -> None:
    """Workers that outlive a kill -9 of the arbiter hold the port for a while; then it goes over."""
    port = free_port()
    args, env = ("--timeout", "10"), {"PROMETHEUS_PORT": str(port)}
    with Gunicorn(tmp_path, workers=2, args=args, env=env) as first:
        assert until(lambda: reachable(port))
        assert first.get("/ok").text == "ok"
        orphans = first.workers()
        psutil.Process(first.pid).kill()
        with Gunicorn(tmp_path, workers=2, args=args, env=env) as second:
            assert second.get("/ok").text == "ok"
            assert psutil.wait_procs(orphans, 60)[1] == []
            assert until(lambda: shown(port) == (2, 1), 60), second.log
            # What the dead left behind was removed by whoever came next.
            third = Gunicorn(tmp_path, workers=1, env={"PROMETHEUS_PORT": "0"})
            with third:
                assert until(lambda: third.get("/ok").headers["X-Slot"] != "")
                assert until(lambda: len(list(second.ledgers.glob("*.ledger"))) == 2)


def shown(port: int) -> tuple[int, int] | None:
    """Return how many workers and requests a metrics port shows."""
    if not reachable(port):
        return None
    said = ask(port, "/api/metrics").json()
    return said["workers"]["total"], said["application"]["request_count"]


def test_scrapes_do_not_make_the_log_grow(tmp_path: Path) -> None:
    """Scrapes, one by one and many at once, leave no line in the server's log."""
    with Gunicorn(tmp_path, workers=2) as server:
        server.wait_for_workers()
        assert until(lambda: "OTELMON_TOKEN" in server.log)
        before = server.log
        with ThreadPoolExecutor(20) as clients:
            answers = clients.map(lambda _: server.ops("/metrics"), range(60))
            assert {answer.status for answer in answers} == {200}
        assert server.log == before
