"""Which process a serving one comes from, where its sockets alone do not tell the instance."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otelmon.ledger import parentage, sockets
from otelmon.ledger.identity import identify
from tests.forks import Child


if TYPE_CHECKING:
    import pytest


ROOT = Path(__file__).parent.parent


def _listener(port: int = 0, *, reuse: bool = True) -> socket.socket:
    listener = socket.socket()
    if reuse:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(16)
    return listener


def _name(descriptors: list[int], forker: int | None) -> str | None:
    """Return the instance's name as a serving process finds it."""
    parent = parentage.parent(descriptors, forker=forker)
    found = identify(
        descriptors, name=None, parent=parent.pid, worker=parent.certain, group=parent.group
    )
    return None if found is None else found.name


def _bound(listener: socket.socket, forker: int | None) -> tuple[int, str | None]:
    port: int = listener.getsockname()[1]
    return port, _name([listener.fileno()], forker)


def test_siblings_that_bind_one_address_each_for_itself_are_one_instance() -> None:
    """The process that wrapped the application and forked them is their server."""
    with _listener() as held:
        port = held.getsockname()[1]
        with Child(lambda: _listener(port)) as one, Child(lambda: _listener(port)) as two:
            names = {child.call(_bound, os.getpid()) for child in (one, two)}
            others = {child.call(_bound, None) for child in (one, two)}
    assert len(names) == 1
    assert len(others) == 2


def test_siblings_on_two_addresses_are_two_instances() -> None:
    """A process may start two servers."""
    with Child(_listener) as one, Child(_listener) as two:
        assert one.call(_bound, os.getpid()) != two.call(_bound, os.getpid())


def test_siblings_that_share_a_port_by_no_right_are_told_by_their_sockets() -> None:
    """Without SO_REUSEPORT nobody else can be bound to the same address."""
    with Child(lambda: _listener(reuse=False)) as child:
        assert child.call(_bound, os.getpid()) == child.call(_bound, None)


def test_an_inherited_socket_tells_more_than_the_parent() -> None:
    """Workers that share a socket are named by it, SO_REUSEPORT or not."""
    with _listener() as shared:
        ours = _name([shared.fileno()], None)
        with Child(lambda: shared) as child:
            assert child.call(_bound, os.getpid())[1] == ours


def _report(port: int, results: multiprocessing.Queue[str | None]) -> None:
    with _listener(port) as listener:
        results.put(_name([listener.fileno()], None))


def test_children_by_multiprocessing_know_their_maker() -> None:
    """Siblings on one port are one instance, also where the application was not wrapped before."""
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str | None] = context.Queue()
    with _listener() as held:
        for _ in range(2):
            child = context.Process(target=_report, args=(held.getsockname()[1], results))
            child.start()
            child.join(30)
        names = [results.get(timeout=60) for _ in range(2)]
    results.close()
    results.join_thread()
    assert names[0] == names[1] is not None


# -- which sockets are the server's --------------------------------------------------------------


def _found(own: socket.socket) -> tuple[int, list[int], list[int]]:
    return own.fileno(), parentage.listening(), sockets.listening()


def test_a_fork_s_own_sockets_are_not_the_server_s() -> None:
    """What a worker listens on beside the shared socket does not tell it from its siblings."""
    with _listener() as shared, Child(_listener) as child:
        own, servers, found = child.call(_found)
        assert {own, shared.fileno()} <= set(found)
        assert own not in servers
        assert shared.fileno() in servers


_PROGRAM = """
import socket
from otelmon.ledger import parentage
with socket.create_server(("127.0.0.1", 0)):
    print(len(parentage.listening()))
"""


def test_a_program_s_sockets_are_all_the_server_s() -> None:
    """A socket that a program inherited from the one that started it may be none of its own."""
    with _listener() as leaked:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            pass_fds=[leaked.fileno()],
            capture_output=True,
            check=True,
            cwd=ROOT,
            text=True,
        )
    assert done.stdout == "2\n"


def test_of_a_parent_that_has_gone_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then all listening sockets are taken for the server's."""
    with _listener(), _listener():
        monkeypatch.setattr(os, "getppid", lambda: 0)
        assert parentage.listening() == sockets.listening()
