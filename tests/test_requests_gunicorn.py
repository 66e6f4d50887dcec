"""What real gunicorn workers do to requests, and what is booked of it."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import signal
import socket
import struct
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from otelmon.ledger.requests import DURATION, FIRST_BYTE, REQUEST_SIZE, RESPONSE_SIZE
from tests.booked import Booked, has_begun, read
from tests.gunicorn_server import Gunicorn
from tests.waiting import until
from tests.wsgi_driver import Row, rows


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


APP: Final = "tests.apps.rough:app"
ARGS: Final = {"sync": (), "gthread": ("--threads", "4"), "gevent": ()}


@pytest.fixture(name="server", scope="module", params=["sync", "gthread", "gevent"])
def _server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gunicorn]:
    kind = request.param
    with Gunicorn(
        tmp_path_factory.mktemp(kind),
        app=APP,
        workers=1,
        worker_class=kind,
        args=ARGS[kind],
        prometheus=False,
    ) as server:
        assert until(lambda: has_begun(server), 60), server.log
        yield server


@contextlib.contextmanager
def client(server: Gunicorn, request: str) -> Iterator[socket.socket]:
    """Send a request over a bare socket."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        yield connection


def hang_up(connection: socket.socket) -> None:
    """Reset the connection, as a client does that is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def row(route: str, status: int, outcome: str = "ok", error: str | None = None) -> Row:
    """Return the booking of one GET."""
    return Row("GET", route, status, outcome, error, 1)


@pytest.mark.parametrize(
    ("path", "route"), [("/endless", "/endless"), ("/file/400000000", "/file/<bytes>")]
)
def test_a_client_that_hangs_up_is_seen(server: Gunicorn, path: str, route: str) -> None:
    """A client that resets its connection amid a stream or a file is an outcome, and no error."""
    booked = Booked(server)

    with client(server, f"GET {path} HTTP/1.1\nHost: x\n\n") as connection:
        assert len(connection.recv(65536)) > 0
        hang_up(connection)

    assert booked.rows() == [row(route, 200, "client_disconnected")]


ENDS: Final = {
    "/ok": row("/ok", 200),
    "/raise": row("/raise", 500, "error", "PlannedError"),
    "/midway": row("/midway", 200, "error", "PlannedError"),
    "/status/500": row("/status/<code>", 500, error="500"),
    "/status/204": row("/status/<code>", 204),
    "/text": row("/text", 200, "error", "TypeError"),
    "/fork": row("/fork", 404),
    "/nowhere": row("{unmatched}", 404),
}


@pytest.mark.parametrize("path", ENDS)
def test_each_end_is_booked_once(server: Gunicorn, path: str) -> None:
    """Answers, exceptions before and amid the body, and refused bodies are booked as they are."""
    booked = Booked(server)

    with contextlib.suppress(http.client.IncompleteRead):
        server.get(path)

    assert booked.rows() == [ENDS[path]]


def test_a_head_is_booked_as_such(server: Gunicorn) -> None:
    """HEAD is a method of its own, and whole without a body."""
    booked = Booked(server)

    assert server.get("/ok", method="HEAD").body == b""

    assert booked.rows() == [row("/ok", 200)._replace(method="HEAD")]


def test_a_stream_is_measured_to_its_end(server: Gunicorn) -> None:
    """A stream of half a second takes as much longer than its first byte."""
    booked = Booked(server)

    server.get("/stream/0.5")

    assert booked.of(DURATION).times == booked.of(FIRST_BYTE).times == 1
    assert booked.of(DURATION).total - booked.of(FIRST_BYTE).total >= 500_000_000


def test_a_file_is_booked_once_with_its_size(server: Gunicorn) -> None:
    """A file of 1,000,000 bytes is one request of that size."""
    booked = Booked(server)

    assert server.get("/file/1000000").body == bytes(1_000_000)

    assert booked.rows() == [row("/file/<bytes>", 200)]
    assert booked.of(RESPONSE_SIZE) == (1, 1_000_000)


def test_request_bodies_have_the_size_they_declare(server: Gunicorn) -> None:
    """A body with a Content-Length is counted by it, a chunked one is of unknown size."""
    booked = Booked(server)

    assert server.get("/body", method="POST", body=b"x" * 5000).text == "5000"
    with client(
        server,
        "POST /body HTTP/1.1\nHost: x\nConnection: close\nTransfer-Encoding: chunked\n\n"
        "3\nabc\n0\n\n",
    ) as connection:
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert re.search(rb"\r\n3(\r\n|$)", answer)
    assert booked.started == 2
    assert booked.of(REQUEST_SIZE) == (1, 5000)


def test_a_connection_that_is_kept_has_many_requests(server: Gunicorn) -> None:
    """Twenty requests over as few connections as the worker allows are twenty."""
    booked = Booked(server)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    for _ in range(20):
        connection.request("GET", "/ok")
        assert connection.getresponse().read() == b"ok"
    connection.close()

    assert booked.rows() == [row("/ok", 200)._replace(times=20)]


def test_own_endpoints_are_never_counted(server: Gunicorn) -> None:
    """Probes and figures on the application's port are no requests, whatever their method."""
    booked = Booked(server)

    statuses = Counter(
        server.get(path, method=method).status
        for path in ("/health", "/livez", "/readyz", "/api/metrics", "/api/metrics/health")
        for method in ("GET", "HEAD", "POST")
    )

    assert statuses == {200: 10, 405: 5}
    assert booked.started == 0


# -- a server of their own ---------------------------------------------------------------------


@contextlib.contextmanager
def sync_server(directory: Path, *args: str) -> Iterator[Gunicorn]:
    """Run one sync worker."""
    with Gunicorn(directory, app=APP, workers=1, args=args, prometheus=False) as server:
        assert until(lambda: has_begun(server), 60), server.log
        yield server


def test_a_worker_s_timeout_is_an_abort_or_a_loss(tmp_path: Path) -> None:
    """Each request that runs into the timeout is booked as aborted or lost, and none twice."""
    # Loaded before: a worker whose start takes longer than that would never come to serve.
    with sync_server(tmp_path, "--timeout", "4", "--preload") as server:
        for path in ("/slow/60", "/spin/60"):
            with client(server, f"GET {path} HTTP/1.1\nHost: x\n\n") as connection:
                assert until(lambda: read(server).in_flight == 1)
                connection.settimeout(30)
                with contextlib.suppress(ConnectionResetError):
                    connection.recv(65536)
            assert until(lambda: read(server).in_flight == 0)
        assert until(lambda: read(server).worker_starts >= 3)
        assert server.get("/ok").body == b"ok"

        reading = Booked(server).settled()

    aborted = [one for one in rows(reading) if one.outcome == "aborted"]
    assert {(one.status, one.error) for one in aborted} <= {(500, "SystemExit")}
    assert sum(one.times for one in aborted) + reading.lost == 2
    assert (reading.started, reading.finished + reading.lost) == (3, 3)


def test_a_file_is_sent_by_sendfile(tmp_path: Path) -> None:
    """gunicorn's sync worker sends a measured application's file by the system call."""
    strace = shutil.which("strace")
    assert strace is not None, "strace is a component of the tests: apt-get install strace"
    with sync_server(tmp_path) as server:
        (worker,) = server.workers()
        log = tmp_path / "strace"
        with traced(strace, worker.pid, log):
            assert server.get("/file/1234567").body == bytes(1_234_567)
            assert until(lambda: sent_by_sendfile(log) == 1_234_567), log.read_text()

        assert until(lambda: rows(read(server)) == [row("/file/<bytes>", 200)])


def sent_by_sendfile(log: Path) -> int:
    """Add up what the calls returned; a call may stand in two lines."""
    return sum(
        int(size) for size in re.findall(r"sendfile.*\) += (\d+)$", log.read_text(), re.MULTILINE)
    )


@contextlib.contextmanager
def traced(strace: str, pid: int, log: Path) -> Iterator[None]:
    """Let strace write down the sendfile calls of a process."""
    told = log.with_suffix(".err")
    command = [strace, "-f", "-e", "trace=sendfile", "-o", str(log), "-p", str(pid)]
    with told.open("wb") as err:
        tracer = subprocess.Popen(command, stderr=err)
    try:
        assert until(lambda: "attached" in told.read_text()), told.read_text()
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
