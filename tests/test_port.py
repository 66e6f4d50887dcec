"""The metrics port: one process serves it, whatever happens to the port and to the process."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import faults
from otelmon.ledger.locks import Lease
from otelmon.port import Port
from tests.gunicorn_server import ask, free_port
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Clock:
    """A clock that stands still until it is told to move; takes the place of module time."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class App:
    """Answers `hello`, and can be held up in the middle of it."""

    def __init__(self) -> None:
        """Answer at once."""
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        self.entered.set()
        self.go_on.wait(10)
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hello"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the port's clock."""
    clock = Clock()
    monkeypatch.setattr("otelmon.port.time", clock)
    return clock


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Begin and end with a clean record of failures."""
    faults.forget()
    yield
    faults.forget()


@contextlib.contextmanager
def listening(port: int = 0) -> Iterator[int]:
    """Be another program that has a port."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield taken.getsockname()[1]


@contextlib.contextmanager
def serving(port: Port, lease: Lease | None = None) -> Iterator[int]:
    """Have *port* serve until the end of the block; yield its number."""
    port.tick(lease)
    assert port.state["state"] == "serving", port.state
    number = port.state["port"]
    assert isinstance(number, int)
    try:
        yield number
    finally:
        port.close()


def new(port: int = 0, app: App | None = None, host: str = "127.0.0.1") -> Port:
    """Return a port that has not begun."""
    return Port(app or App(), host=host, port=port)


def held() -> tuple[int, int]:
    """Return how many threads and descriptors this process has."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_port_0_serves_on_a_free_port_and_says_which() -> None:
    """The state names the number that the system chose, and there the application answers."""
    with serving(new(0)) as number:
        assert number != 0
        assert ask(number, "/").text == "hello"


def kept_alive(client: socket.socket) -> bytes:
    """Ask on a connection that is kept; return the whole answer."""
    client.settimeout(10)
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"hello") and (piece := client.recv(65536)):
        answer += piece
    return answer


def test_before_its_turn_nothing_is_open() -> None:
    """A port that was made and never had its turn holds neither thread nor descriptor."""
    before = held()
    port = new(free_port())
    assert held() == before
    assert port.state["state"] == "elsewhere"
    port.close()
    port.forget()
    assert held() == before


def test_an_address_of_ipv6_is_served() -> None:
    """A host with colons is bound as IPv6."""
    with serving(new(host="::1")) as number:
        connection = http.client.HTTPConnection("::1", number, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
        connection.close()


def test_closing_gives_back_threads_descriptors_and_the_port() -> None:
    """After close nothing of the server is left, and its number can be bound at once, 5 times."""
    with serving(new()):
        pass  # what is imported at the first time stays
    before = held()
    number = free_port()
    for _ in range(5):
        with serving(new(number)):
            assert ask(number, "/").status == 200
        with listening(number):
            pass
    assert until(lambda: held() == before), (held(), before)
    assert faults.seen() == {}


def test_closing_before_the_server_has_begun_gives_everything_back() -> None:
    """A close right behind the first tick, 20 times, leaves no thread and no descriptor."""
    with serving(new()):
        pass
    before = held()
    for _ in range(20):
        port = new()
        port.tick(None)
        port.close()
    assert until(lambda: held() == before), (held(), before)
    assert faults.seen() == {}


def test_closing_ends_connections_that_are_kept_alive() -> None:
    """A client with an idle connection sees its end, and holds up nobody."""
    port = new()
    with serving(port) as number, socket.create_connection(("127.0.0.1", number)) as client:
        assert kept_alive(client).endswith(b"hello")
        port.close()
        assert client.recv(1) == b""


def test_a_port_that_is_closed_lets_an_answer_end() -> None:
    """What is being answered at the moment of closing still reaches its client."""
    app = App()
    app.go_on.clear()
    port = new(app=app)
    with serving(port) as number, ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, number, "/")
        assert app.entered.wait(10)
        closing = pool.submit(port.close)
        assert until(lambda: port.state["state"] != "serving")
        app.go_on.set()
        assert answer.result(10).text == "hello"
        closing.result(10)


def test_200_scrapes_by_many_clients_at_once_are_all_answered() -> None:
    """More clients than threads wait their turn; none is refused."""
    with serving(new()) as number, ThreadPoolExecutor(40) as pool:
        answers = pool.map(lambda _: ask(number, "/").status, range(200))
        assert list(answers) == [200] * 200


def test_a_taken_port_is_said_once_and_shown(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """The log names the address once, however often it is tried; the state names the error."""
    with listening() as number:
        port = new(number)
        for _ in range(5):
            port.tick(None)
            clock.now += 60
        assert port.state == {"state": "failed", "port": number, "error": "EADDRINUSE"}
    logged = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(logged) == 1
    assert f"127.0.0.1:{number}" in logged[0].getMessage()
    assert faults.seen()["metrics_port"].times == 5


def test_a_taken_port_is_tried_again_with_growing_pauses(clock: Clock) -> None:
    """The pauses are 1, 2, 4, 8, 16 and then always 30 s."""
    tried: list[int] = []
    with listening() as number:
        port = new(number)
        for second in range(130):
            clock.now = 5000.0 + second
            port.tick(None)
            tried += [second] * (faults.seen()["metrics_port"].times - len(tried))
    assert tried == [0, 1, 3, 7, 15, 31, 61, 91, 121]


def test_a_port_that_is_freed_is_taken_over(clock: Clock) -> None:
    """Once the other program has gone, the next try serves; later failures begin small again."""
    with listening() as number:
        port = new(number)
        port.tick(None)
        clock.now += 1
        port.tick(None)
        assert port.state["state"] == "failed"
    clock.now += 2
    with serving(port):
        assert ask(number, "/").text == "hello"
    with listening(number):
        clock.now += 60
        port.tick(None)
        clock.now += 1
        times = faults.seen()["metrics_port"].times
        port.tick(None)
        assert faults.seen()["metrics_port"].times == times + 1


def test_a_host_that_cannot_be_bound_is_a_failure_like_any_other(clock: Clock) -> None:
    """An address of no interface here is shown by the name of its error."""
    port = new(free_port(), host="192.0.2.1")
    port.tick(None)
    assert port.state["error"] == "EADDRNOTAVAIL"


def test_a_server_that_cannot_start_is_a_failure_and_is_tried_again(clock: Clock) -> None:
    """If the server's thread ends by an error, the state says so and the port is free."""
    before = held()
    number = free_port()
    refused: Any = None
    port = Port(refused, host="127.0.0.1", port=number)
    port.tick(None)

    def failed() -> bool:
        port.tick(None)
        return port.state == {"state": "failed", "port": number, "error": "ValueError"}

    assert until(failed)
    with listening(number):
        pass
    clock.now += 60
    port.tick(None)
    assert port.state["state"] == "serving"
    port.close()
    assert until(lambda: held() == before), (held(), before)


def test_one_holder_of_the_lease_serves_and_the_next_takes_over(tmp_path: Path) -> None:
    """Of two ports one serves; when it has closed and given its lease, the other one does."""
    number = free_port()
    first, second = new(number), new(number)
    mine, theirs = Lease(tmp_path / "a.port"), Lease(tmp_path / "a.port")
    with serving(first, mine):
        second.tick(theirs)
        assert second.state == {"state": "elsewhere", "port": number}
        assert theirs.noted() == str(number)
    second.tick(theirs)
    assert second.state["state"] == "elsewhere"
    mine.give()
    with serving(second, theirs):
        assert ask(number, "/").text == "hello"
    theirs.give()
    assert faults.seen() == {}


def test_the_lease_tells_the_others_which_free_port_was_taken(tmp_path: Path) -> None:
    """With port 0 the lease's file holds the number, for `/health` of the other processes."""
    lease = Lease(tmp_path / "a.port")
    with serving(new(0), lease) as number:
        assert Lease(tmp_path / "a.port").noted() == str(number)
    lease.give()


def test_who_lost_the_lease_leaves_the_port_to_who_has_it(tmp_path: Path, clock: Clock) -> None:
    """If the lease's file is removed and another is faster, the old one closes at its next turn."""
    number = free_port()
    first, second = new(number), new(number)
    mine, theirs = Lease(tmp_path / "a.port"), Lease(tmp_path / "a.port")
    first.tick(mine)
    (tmp_path / "a.port").unlink()
    second.tick(theirs)
    assert second.state["state"] == "failed"
    first.tick(mine)
    assert first.state["state"] == "elsewhere"
    clock.now += 1
    with serving(second, theirs):
        assert ask(number, "/").text == "hello"
    theirs.give()


@contextlib.contextmanager
def forgetful_child(port: Port, told: Path) -> Iterator[None]:
    """Fork a child that forgets *port* and lives on until the end of the block."""
    child = os.fork()
    if child == 0:
        try:
            port.forget()
            told.touch()
            signal.pause()
        finally:
            os._exit(1)
    try:
        assert until(told.exists)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_forked_child_holds_neither_the_port_nor_its_connections(tmp_path: Path) -> None:
    """A child that forgets lives on while the port and a connection close behind the parent."""
    port = new()
    with serving(port) as number, socket.create_connection(("127.0.0.1", number)) as client:
        assert kept_alive(client).endswith(b"hello")
        with forgetful_child(port, tmp_path / "told"):
            assert ask(number, "/").text == "hello"
            port.close()
            assert client.recv(1) == b""
            with listening(number):
                pass


def test_what_a_child_forgets_is_its_own_copy_of_the_state() -> None:
    """After forgetting, the state is that of a process that never served."""
    port = new()
    with serving(port):
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                port.forget()
                code = 0 if port.state["state"] == "elsewhere" else 2
            os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert port.state["state"] == "serving"
