"""The process beside the workers: it serves the metrics port whatever they do, and is none of them."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from gunicorn.ctl.client import ControlClient

from tests import peek, ports
from tests.free_ports import free_port
from tests.gunicorn_server import Gunicorn, ask
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator


HOOKS = ("-c", "python:otelmon.gunicorn")


def hooked(directory: Path, *args: str, **options: Any) -> Gunicorn:  # noqa: ANN401 - Gunicorn's
    """Return a server with our hooks."""
    return Gunicorn(directory, args=(*HOOKS, *args), **{"workers": 2, **options})


def figure(server: Gunicorn, part: str, name: str) -> Any:  # noqa: ANN401 - as the JSON has it
    """Return what the metrics port says; None if for the moment nobody serves it."""
    found = peek.figures(server)
    return None if found is None else found[part][name]


def requests(server: Gunicorn) -> Any:  # noqa: ANN401 - as the JSON has it
    """Return how many requests were answered, as the metrics port says."""
    return figure(server, "application", "request_count")


def holder(server: Gunicorn) -> int | None:
    """Return the process that has the turn to serve the metrics port, None if nobody has."""
    with contextlib.suppress(ValueError):
        (pid,) = peek.holders(peek.ledger(server).with_suffix(".port"))
        return pid
    return None


def the_sidecar(server: Gunicorn) -> psutil.Process:
    """Return the server's one sidecar, once it has the port."""
    assert until(lambda: [holder(server)] == [each.pid for each in server.sidecars()]), server.log
    (found,) = server.sidecars()
    return found


def reachable(port: int) -> bool:
    """Tell whether somebody answers there."""
    with contextlib.suppress(OSError):
        return ask(port, "/livez").status == 200
    return False


def try_get(server: Gunicorn, path: str) -> int | None:
    """Ask a worker that may be killed meanwhile."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return server.get(path, timeout=110).status
    return None


def test_the_port_answers_while_every_worker_is_stuck_in_c(tmp_path: Path) -> None:
    """With 3 workers that hold their interpreters' locks, all endpoints answer; in time: degraded."""
    with (
        # As long as they are stuck, gunicorn lets them be.
        hooked(tmp_path, "--timeout", "120", app="tests.apps.stuck:app", workers=3) as server,
        ThreadPoolExecutor(3) as clients,
    ):
        server.wait_for_workers()
        maps = Path(f"/proc/{the_sidecar(server).pid}/maps")
        assert until(lambda: server.ops("/health").json()["status"] == "healthy"), server.log
        # What the text takes, ctypes among it, is there before somebody asks for it.
        assert until(lambda: "/_ctypes." in maps.read_text()), server.log
        stuck = [clients.submit(try_get, server, "/stuck/100") for _ in range(3)]
        assert until(lambda: figure(server, "workers", "busy") == 3), server.log
        for path in ("/health", "/livez", "/readyz", "/api/metrics", "/metrics"):
            assert server.ops(path).status == 200
        assert until(lambda: server.ops("/health").json()["status"] == "degraded", 40)
        assert server.ops("/readyz").status == 200
        assert 'otelmon_workers{state="busy"} 3' in server.ops("/metrics").text
        assert figure(server, "workers", "total") == 3
        assert not any(each.done() for each in stuck)
        for worker in server.workers():
            worker.kill()
    assert [each.result() for each in stuck] == [None] * 3


@pytest.mark.parametrize(
    ("worker_class", "preload"), [("sync", True), ("gthread", False), ("gevent", True)]
)
def test_through_reload_and_upgrade_it_serves_and_is_never_counted(
    tmp_path: Path, worker_class: str, *, preload: bool
) -> None:
    """HUP leaves it alone, USR2 brings another; requests, workers and deaths stay exact."""
    with hooked(tmp_path, worker_class=worker_class, preload=preload) as server:
        server.wait_for_workers()
        first = the_sidecar(server)
        assert psutil.Process(server.pid).num_threads() == 1
        for _ in range(20):
            assert server.get("/ok").status == 200
        assert until(lambda: requests(server) == 20), server.log
        server.signal(signal.SIGHUP)
        assert until(lambda: figure(server, "workers", "deaths") == 2, 60), server.log
        assert the_sidecar(server) == first
        for _ in range(20):
            assert server.get("/ok").status == 200
        assert until(lambda: requests(server) == 40), server.log
        server.upgrade()
        assert until(lambda: not first.is_running()), server.log
        second = the_sidecar(server)
        assert until(lambda: figure(server, "workers", "deaths") == 4), server.log
        assert second != first
        # Its workers may begin to serve after the old ones have ended.
        server.wait_for_workers()
        check_after_upgrade(server)
    assert until(lambda: not second.is_running())


def check_after_upgrade(server: Gunicorn) -> None:
    """Check what is shown of 40 requests and three generations of 2 workers."""
    said = server.ops("/api/metrics").json()
    assert said["application"]["request_count"] == 40
    assert (said["workers"]["total"], said["workers"]["starts"]) == (2, 6)
    assert said["otelmon"]["faults"] == {}
    assert said["otelmon"]["port"] == {"state": "serving", "port": server.metrics_port}
    elsewhere = {"state": "elsewhere", "port": server.metrics_port}
    assert until(lambda: server.get("/health").json()["otelmon"]["port"] == elsewhere), server.log
    assert "Traceback" not in server.log


def kill_workers_until_there_is_one(server: Gunicorn) -> int:
    """Kill a worker, and the next, until a sidecar was started; return how many it took.

    It is not started with every worker: one that cannot live would be started again and again.
    """
    killed = 0

    def started() -> bool:
        nonlocal killed
        # One that has no slot yet would be no death; and the dead are shown for a moment.
        shown = {each["pid"] for each in figure(server, "workers", "each") or ()}
        workers = server.workers()
        if not server.sidecars() and len(workers) == 2 and shown == {each.pid for each in workers}:
            workers[0].kill()
            killed += 1
        return bool(server.sidecars())

    assert until(started, 60, every=0.2), server.log
    return killed


def test_killed_it_is_replaced_by_a_worker_and_then_by_another(tmp_path: Path) -> None:
    """A worker has the port at its next beat; when a worker dies, a new sidecar takes it back.

    Also beside the thread that gunicorn's arbiter has for its control socket.
    """
    control = tmp_path / "ctl"
    server = hooked(tmp_path, "--control-socket", str(control))
    server._command.remove("--no-control-socket")
    with server:
        server.wait_for_workers()
        first = the_sidecar(server)
        assert server.get("/ok").status == 200
        assert until(lambda: requests(server) == 1)
        first.kill()
        workers = {each.pid for each in server.workers()}
        assert until(lambda: holder(server) in workers), server.log
        assert until(lambda: requests(server) == 1), server.log
        assert server.sidecars() == []
        killed = kill_workers_until_there_is_one(server)
        assert the_sidecar(server) != first
        assert the_sidecar(server).net_connections("unix") == []
        with ControlClient(str(control)) as client:
            assert until(lambda: client.send_command("show workers")["count"] == 2)
        assert until(lambda: figure(server, "workers", "deaths") == killed), server.log
        assert requests(server) == 1
        assert "Traceback" not in server.log


def test_an_arbiter_that_is_patched_for_gevent_has_one_that_works(tmp_path: Path) -> None:
    """With gevent's patches made by the configuration, in the arbiter, it serves, and ends with it."""
    config = tmp_path / "conf.py"
    config.write_text(
        "from gevent import monkey\nmonkey.patch_all()\n"
        "import otelmon.gunicorn\notelmon.gunicorn.install(globals())\n"
    )
    args = ("-c", str(config))
    with Gunicorn(tmp_path, workers=2, worker_class="gevent", args=args) as server:
        server.wait_for_workers()
        sidecar = the_sidecar(server)
        assert server.get("/ok").status == 200
        assert until(lambda: requests(server) == 1)
        assert server.ops("/metrics").status == 200
    assert until(lambda: not sidecar.is_running())
    assert "Traceback" not in server.log


def test_it_ends_with_the_arbiter(tmp_path: Path) -> None:
    """After kill -9 of the arbiter it is gone, before the workers have noticed."""
    with hooked(tmp_path) as server:
        server.wait_for_workers()
        sidecar = the_sidecar(server)
        orphans = server.workers()
        psutil.Process(server.pid).kill()
        assert psutil.wait_procs([sidecar], 30)[1] == []
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()


def test_no_signal_that_the_arbiter_obeys_moves_it_but_sigterm_ends_it(tmp_path: Path) -> None:
    """What a whole process group gets leaves it serving; SIGTERM to it alone ends it in order."""
    with hooked(tmp_path) as server:
        server.wait_for_workers()
        sidecar = the_sidecar(server)
        for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "TTIN", "TTOU", "WINCH"):
            sidecar.send_signal(getattr(signal, f"SIG{name}"))
        assert server.ops("/livez").status == 200
        assert server.sidecars() == [sidecar]
        sidecar.terminate()
        assert psutil.wait_procs([sidecar], 30)[1] == []
        assert until(lambda: figure(server, "workers", "total") == 2), server.log


def test_with_no_worker_left_the_port_answers(tmp_path: Path) -> None:
    """While the arbiter is stopped and all workers are dead, the totals are there, and degraded."""
    with hooked(tmp_path) as server:
        server.wait_for_workers()
        the_sidecar(server)
        assert server.get("/ok").status == 200
        assert until(lambda: requests(server) == 1)
        assert until(lambda: server.ops("/health").json()["status"] == "healthy"), server.log
        arbiter, workers = psutil.Process(server.pid), server.workers()
        arbiter.suspend()
        try:
            for worker in workers:
                worker.kill()
            assert until(lambda: figure(server, "workers", "total") == 0)
            assert server.ops("/health").json()["status"] == "degraded"
            assert server.ops("/readyz").status == 503
            assert requests(server) == 1
        finally:
            arbiter.resume()
        server.wait_for_workers()
        assert requests(server) == 1


def test_it_holds_no_listening_socket_of_the_server(tmp_path: Path) -> None:
    """It listens on the metrics port and on nothing else."""
    with hooked(tmp_path) as server:
        server.wait_for_workers()
        listening = [
            each.laddr.port
            for each in the_sidecar(server).net_connections("tcp")
            if each.status == psutil.CONN_LISTEN
        ]
        assert listening == [server.metrics_port]


def test_new_sockets_bring_another_one(tmp_path: Path) -> None:
    """After a HUP to another address, which is another instance, the port shows that one."""
    config, second = tmp_path / "conf.py", free_port()
    text = "import otelmon.gunicorn\nbind = '127.0.0.1:{}'\notelmon.gunicorn.install(globals())\n"
    config.write_text(text.format(0))
    server = Gunicorn(tmp_path, workers=2, args=("-c", str(config)))
    # Not on the command line, which would go before the file.
    server._command = [each for each in server._command if each not in ("-b", "127.0.0.1:0")]
    with server:
        server.wait_for_workers()
        first = the_sidecar(server)
        assert server.get("/ok").status == 200
        assert until(lambda: requests(server) == 1)
        config.write_text(text.format(second))
        server.signal(signal.SIGHUP)
        assert until(lambda: requests(server) == 0, 60), server.log
        assert until(lambda: not first.is_running()), server.log
        assert ask(second, "/ok").status == 200
        assert until(lambda: requests(server) == 1)
        assert until(lambda: figure(server, "workers", "total") == 2), server.log


def test_workers_with_sockets_of_their_own_are_shown(tmp_path: Path) -> None:
    """Under --reuse-port, where the arbiter listens on nothing, it finds the same ledger."""
    with hooked(tmp_path, "--reuse-port", port=free_port()) as server:
        server.wait_for_workers()
        the_sidecar(server)
        for _ in range(10):
            assert server.get("/ok").status == 200
        assert until(lambda: requests(server) == 10), server.log


def test_a_removed_ledger_is_followed(tmp_path: Path) -> None:
    """With the file gone, the port soon shows the one that the workers count in from then on."""
    with hooked(tmp_path) as server:
        server.wait_for_workers()
        sidecar = the_sidecar(server)
        for _ in range(5):
            assert server.get("/ok").status == 200
        assert until(lambda: requests(server) == 5)
        old = sidecar.open_files()
        peek.ledger(server).unlink()
        for _ in range(5):
            assert server.get("/ok").status == 200
        assert until(lambda: sidecar.open_files() != old), server.log
        server.wait_for_workers()
        # A worker moves, and then what it has counted.
        assert until(lambda: requests(server) == 10), server.log
        assert the_sidecar(server) == sidecar


def test_a_taken_port_is_told_by_all_and_taken_when_it_is_free(tmp_path: Path) -> None:
    """The sidecar's failure is in the /health of every worker, and the log names the port once."""
    with contextlib.ExitStack() as taken:
        number = taken.enter_context(ports.listening(free_port()))
        env = {"PROMETHEUS_PORT": str(number)}
        with hooked(tmp_path, env=env) as server:
            # None is stopped while it begins.
            assert until(lambda: server.get("/api/metrics").json()["workers"]["total"] == 2, 60)
            failed = {"state": "failed", "port": number, "error": "EADDRINUSE"}

            def told() -> bool:
                return bool(server.get("/health").json()["otelmon"]["port"] == failed)

            for worker in server.workers():
                with server.only(worker):
                    assert until(told), server.log
            assert server.log.count("metrics_port failed") == 1
            taken.close()
            # The pauses between two tries grow, the longer it took to ask everybody.
            assert until(lambda: reachable(number), 60), server.log
            the_sidecar(server)


@pytest.fixture
def everybodys_directory() -> Iterator[Path]:
    """Return a directory that the user nobody may use."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


def test_it_gives_up_its_rights_as_the_workers_do(everybodys_directory: Path) -> None:
    """Under --user nobody it runs as that user, and shows the ledger that the workers share."""
    ledgers = str(everybodys_directory / "ledger")
    with hooked(
        everybodys_directory,
        *("--user", "nobody", "--group", "nogroup"),
        app="tests.apps.early:app",
        preload=True,
        env={"OTELMON_DIR": ledgers, "PYTHONDONTWRITEBYTECODE": "1"},
    ) as server:
        server.wait_for_workers()
        (sidecar,) = server.sidecars()
        assert set(sidecar.uids()) == set(server.workers()[0].uids()) != {0}
        assert until(lambda: peek.served(server) == set()), server.log
        for _ in range(10):
            assert server.get("/ok").status == 200
        assert until(lambda: requests(server) == 10), server.log
        assert server.ops("/api/metrics").json()["otelmon"]["instance"]["shared"] is True
    shutil.rmtree(ledgers)


def test_without_a_port_there_is_none(tmp_path: Path) -> None:
    """Unset ENABLE_PROMETHEUS: the hooks start nothing."""
    with hooked(tmp_path, env={"ENABLE_PROMETHEUS": ""}) as server:
        assert until(lambda: server.get("/api/metrics").json()["workers"]["total"] == 2)
        assert server.sidecars() == []


def test_with_wrong_settings_the_server_runs_without(tmp_path: Path) -> None:
    """They are told, in the arbiter, once, and an application that does not care is served."""
    app, env = "wsgiref.simple_server:demo_app", {"PROMETHEUS_PORT": "http"}
    with hooked(tmp_path, app=app, env=env) as server:
        assert until(lambda: len(server.workers()) == 2)
        assert server.get("/ok").status == 200
        server.signal(signal.SIGHUP)
        assert until(lambda: server.log.count("Worker exiting") == 2)
        assert server.get("/ok").status == 200
        assert server.log.count("gunicorn_hook failed: PROMETHEUS_PORT is 'http'") == 1
        assert server.sidecars() == []


def test_without_a_ledger_the_workers_have_the_port(tmp_path: Path) -> None:
    """Where no directory can be used, a worker serves the port and shows what itself has counted."""
    with hooked(tmp_path, env={"OTELMON_DIR": "/proc/otelmon"}) as server:
        assert until(lambda: figure(server, "workers", "total") == 1), server.log
        assert server.get("/ok").status == 200
        said = server.ops("/health").json()["otelmon"]
        assert said["ledger"] == "private: this worker only"
