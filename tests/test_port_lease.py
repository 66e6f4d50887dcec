"""The metrics port between processes: one has it, the next one gets it, children do not keep it."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from otelmon import faults
from otelmon.ledger.locks import Lease
from tests.forks import forks_during
from tests.free_ports import free_port
from tests.gunicorn_server import ask
from tests.ports import Clock, kept_alive, listening, new, serving
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otelmon.port import Port


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the port's clock."""
    clock = Clock()
    monkeypatch.setattr("otelmon.port.time", clock)
    return clock


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
    until_closed, close = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(close)
            port.forget()
            told.touch()
            os.read(until_closed, 1)
        finally:
            os._exit(0)
    try:
        assert until(told.exists)
        yield
    finally:
        os.close(close)
        os.close(until_closed)
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


def test_a_port_that_is_opened_during_a_fork_is_let_go_and_opened_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A child that has the socket and cannot know of it does not keep the port."""
    number = free_port()
    port = new(number)
    with forks_during(os.set_inheritable) as set_inheritable:
        monkeypatch.setattr(os, "set_inheritable", set_inheritable)
        port.tick(None)
        assert port.state["state"] == "elsewhere"
        with listening(number):
            pass
        with serving(port):
            assert ask(number, "/").text == "hello"


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
