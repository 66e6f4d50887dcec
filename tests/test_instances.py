"""Servers other than gunicorn, and which processes are one instance."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.free_ports import free_port
from tests.gunicorn_server import ROOT, Gunicorn, ask
from tests.inventory import Inventory
from tests.program import Program
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


SERVERS = ["wsgiref", "waitress", "werkzeug", "gevent"]


# -- servers other than gunicorn ------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS)
def test_another_server_is_known_at_its_first_request(tmp_path: Path, server: str) -> None:
    """A server without our hooks holds nothing until a request comes, and then everything."""
    with Program(server, tmp_path, free_port()) as program:
        before = program.tell("inventory")
        assert before.ports == (program.port,)
        assert before.locks == 0
        assert not (tmp_path / "ledger").exists()
        assert program.get("/ok").text == "ok"
        assert until(program.is_up)
        assert set(program.tell("inventory").ports) == {program.port, program.metrics_port}
        assert program.get("/health").json()["otelmon"]["ledger"] == "shared"
        assert until(lambda: said(program, "application", "request_count") == 1)


def test_a_server_that_is_only_probed_serves(tmp_path: Path) -> None:
    """A first request to one of our own paths begins the beat as well."""
    with Program("waitress", tmp_path, free_port()) as program:
        assert program.get("/readyz").status == 200
        assert until(program.is_up)


@pytest.mark.parametrize("server", ["wsgiref", "gevent"])
def test_closing_returns_everything_and_a_new_monitor_works(tmp_path: Path, server: str) -> None:
    """After close no thread, port, lock or file of ours is left; the next monitor has them again."""
    with Program(server, tmp_path, free_port()) as program:
        before = program.tell("inventory")
        for _ in range(2):
            assert program.get("/ok").text == "ok"
            assert until(program.is_up)
            closed = program.tell("close")
            assert (closed.ports, closed.locks) == (before.ports, 0)
            assert ours(closed, tmp_path) == 0
            assert program.get("/ok").text == "ok"
            assert program.get("/health").text == "missing"
            # The threads of the port have ended but for their last instructions.
            assert until(lambda: not_more(program.tell("inventory"), before))
            program.tell("renew")


def not_more(held: Inventory, before: Inventory) -> bool:
    """Tell whether a process has no more threads and descriptors than before."""
    return held.threads <= before.threads and not Counter(held.files) - Counter(before.files)


def ours(held: Inventory, directory: Path) -> int:
    """Return how many descriptors are open on files of the ledger."""
    return sum(file.startswith(str(directory)) and "ledger/" in file for file in held.files)


def test_flask_run_is_a_server(tmp_path: Path) -> None:
    """`flask run` opens nothing at its start, and answers all of our paths."""
    port, metrics_port = free_port(), free_port()
    env = {
        **os.environ,  # noqa: TID251 - a child needs its PATH
        "OTELMON_DIR": str(tmp_path / "ledger"),
        "ENABLE_PROMETHEUS": "true",
        "PROMETHEUS_PORT": str(metrics_port),
        "REPORT": str(tmp_path / "report"),
    }
    command = ("flask", "--app", "tests.apps.bystander", "run", "--port", str(port))
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert until(lambda: Inventory.of(process.pid).ports == (port,), 60)
            assert not (tmp_path / "ledger").exists()
            assert ask(port, "/").text == "hello"
            assert until(lambda: metrics_port in Inventory.of(process.pid).ports)
            assert "app_requests_total" in ask(metrics_port, "/metrics").text
        finally:
            process.kill()


# -- one instance or two --------------------------------------------------------------------------


def test_two_servers_of_one_command_line_do_not_share(tmp_path: Path) -> None:
    """Two gunicorns from one shell, one directory, one command: each counts its own."""
    env = {"PROMETHEUS_PORT": "0"}
    with (
        Gunicorn(tmp_path, workers=2, env=env) as first,
        Gunicorn(tmp_path, workers=2, env=env) as second,
    ):
        for server, count in ((first, 3), (second, 5)):
            for _ in range(count):
                assert server.get("/ok").status == 200
        for server, count in ((first, 3), (second, 5)):
            assert until(lambda: counted(server) == (2, count))  # noqa: B023
        assert len(list(first.ledgers.glob("*.ledger"))) == 2

        def ports() -> set[int]:
            return {
                server.get("/health").json()["otelmon"]["port"]["port"]
                for server in (first, second)
            }

        # A server may have answered before it has taken its port.
        assert until(lambda: len(ports() - {0}) == 2), ports()


def counted(server: Gunicorn) -> tuple[int, int]:
    """Return how many workers a server has and how many requests it answered, as a worker says."""
    said = server.get("/api/metrics").json()
    return said["workers"]["total"], said["application"]["request_count"]


def test_the_sockets_of_one_server_are_one_instance(tmp_path: Path) -> None:
    """What came over TCP and what came over a unix socket is counted together, by all workers."""
    path = tmp_path / "socket"
    with Gunicorn(tmp_path, workers=2, args=("-b", f"unix:{path}")) as server:
        server.wait_for_workers()
        for _ in range(3):
            assert server.get("/ok").status == 200
            assert unix_status(path) == 200
        assert until(lambda: metrics_count(server) == 6)
        assert counted(server) == (2, 6)
        assert len(list(server.ledgers.glob("*.ledger"))) == 1


def unix_status(path: Path) -> int:
    """Ask for /ok over a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(b"GET /ok HTTP/1.0\r\n\r\n")
        return int(client.recv(65536).split()[1])


class Activated(Gunicorn):
    """A gunicorn that is handed its socket by the system."""

    def __init__(self, directory: Path, listener: socket.socket) -> None:
        """Take the socket that a service manager has opened."""
        super().__init__(directory, workers=2)
        fd = listener.fileno()
        # systemd's protocol: descriptors from 3 on, for the process that LISTEN_PID names.
        script = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&{fd}'
        self._command = ["bash", "-c", script, "bash", *self._command]
        self._handed = (fd,)


def test_a_server_that_was_handed_its_socket_is_known_by_it(tmp_path: Path) -> None:
    """Under socket activation all workers are one instance, and so is the server after a restart."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for count in (3, 6):
            with Activated(tmp_path, listener) as server:
                assert server.port == listener.getsockname()[1]
                server.wait_for_workers()
                for _ in range(3):
                    assert server.get("/ok").status == 200
                assert until(lambda: metrics_count(server) == count)  # noqa: B023
                assert counted(server) == (2, count)
    assert len(list((tmp_path / "ledger").glob("*.ledger"))) == 1


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_two_servers_on_one_reused_port_do_not_share(tmp_path: Path, *, preload: bool) -> None:
    """Two gunicorns with SO_REUSEPORT on one port: together they count every request once."""
    port = free_port()
    options: dict[str, Any] = {"port": port, "workers": 2, "preload": preload}
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(Gunicorn(tmp_path, args=("--reuse-port",), **options))
            for _ in range(2)
        ]
        for server in servers:
            server.wait_for_workers()
        for _ in range(40):
            assert servers[0].get("/ok").status == 200
        assert until(lambda: sum(metrics_count(server) for server in servers) == 40)
        assert all(0 < metrics_count(server) < 40 for server in servers)


def metrics_count(server: Gunicorn) -> int:
    """Return how many requests a server answered, as its metrics port says."""
    count: int = server.ops("/api/metrics").json()["application"]["request_count"]
    return count


def test_two_programs_on_one_reused_port_do_not_share(tmp_path: Path) -> None:
    """Without gunicorn too: sockets of one address are different sockets."""
    port = free_port()
    with Program("wsgiref", tmp_path, port) as first, Program("wsgiref", tmp_path, port) as second:
        programs = (first, second)

        def all_up() -> bool:
            first.get("/ok")
            return all(program.is_up() for program in programs)

        assert until(all_up)
        assert len(list((tmp_path / "ledger").glob("*.ledger"))) == 2


def test_instances_of_one_name_share(tmp_path: Path) -> None:
    """OTELMON_INSTANCE names one by hand: two programs that have it are counted together."""
    with (
        Program("wsgiref", tmp_path, free_port(), OTELMON_INSTANCE="shop") as first,
        Program("waitress", tmp_path, free_port(), OTELMON_INSTANCE="shop") as second,
    ):
        for program in (first, second):
            assert program.get("/ok").text == "ok"
        for program in (first, second):
            assert until(lambda: said(program, "application", "request_count") == 2)  # noqa: B023
            assert said(program, "workers", "total") == 2


def said(program: Program, part: str, name: str) -> int:
    """Return a figure that a program shows."""
    figure: int = program.get("/api/metrics").json()[part][name]
    return figure
