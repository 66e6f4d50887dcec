"""The metrics port in one process: opened, taken, closed."""

from __future__ import annotations

import http.client
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from otelmon import faults
from otelmon.port import Port
from tests.free_ports import free_port
from tests.gunicorn_server import ask
from tests.ports import App, Clock, given_back, held, kept_alive, listening, new, serving
from tests.waiting import until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the port's clock."""
    clock = Clock()
    monkeypatch.setattr("otelmon.port.time", clock)
    return clock


def test_port_0_serves_on_a_free_port_and_says_which() -> None:
    """The state names the number that the system chose, and there the application answers."""
    with serving(new(0)) as number:
        assert number != 0
        assert ask(number, "/").text == "hello"


def test_before_its_turn_nothing_is_open() -> None:
    """A port that was made and never had its turn holds neither thread nor descriptor."""
    before = held()
    port = new(free_port())
    assert given_back(before)
    assert port.state["state"] == "elsewhere"
    port.close()
    port.forget()
    assert given_back(before)


def test_an_address_of_ipv6_is_served() -> None:
    """A host with colons is bound as IPv6."""
    with serving(new(host="::1")) as number:
        connection = http.client.HTTPConnection("::1", number, timeout=60)
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
    assert until(lambda: given_back(before)), (held(), before)
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
    assert until(lambda: given_back(before)), (held(), before)
    assert faults.seen() == {}


def test_closing_ends_connections_that_are_kept_alive() -> None:
    """A client with an idle connection sees its end, and holds up nobody."""
    port = new()
    with serving(port) as number, socket.create_connection(("127.0.0.1", number)) as client:
        assert kept_alive(client).endswith(b"hello")
        port.close()
        assert client.recv(1) == b""


def test_a_port_that_is_closed_lets_an_answer_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being answered at the moment of closing still reaches its client."""
    # A busy machine is no reason to wait no longer for it.
    monkeypatch.setattr("otelmon.port._END_SECONDS", 20.0)
    app = App()
    app.go_on.clear()
    port = new(app=app)
    with serving(port) as number, ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, number, "/")
        assert app.entered.wait(60)
        closing = pool.submit(port.close)
        assert until(lambda: port.state["state"] != "serving")
        app.go_on.set()
        assert answer.result(60).text == "hello"
        closing.result(60)


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
    with listening(free_port()) as number:
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
    assert until(lambda: given_back(before)), (held(), before)
