"""Which instance a process belongs to: its listening sockets tell."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otelmon.ledger import identity, layout
from otelmon.ledger.identity import Identity, Process, identify, start_time
from tests.forks import Child, forked


if TYPE_CHECKING:
    from collections.abc import Callable


NOBODY = 65534
_PR_SET_NAME = 15
ROOT = Path(__file__).parent.parent


def _tcp(*, reuse_port: bool = False, port: int = 0) -> socket.socket:
    listener = socket.socket()
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(16)
    return listener


def _unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(16)
    return listener


def _identified(descriptors: list[int], parent: int = 0) -> Identity:
    found = identify(descriptors, name=None, parent=parent)
    assert found is not None
    return found


def _name(*listeners: socket.socket) -> str:
    return _identified([listener.fileno() for listener in listeners]).name


# -- the name ------------------------------------------------------------------------------------


def test_two_servers_are_two_instances() -> None:
    """Sockets that were made one by one name two instances, whatever else is alike."""
    with _tcp() as one, _tcp() as two:
        assert _name(one) == _name(one)
        assert _name(one) != _name(two)


def test_the_sockets_of_one_server_name_it_together(tmp_path: Path) -> None:
    """A server with two sockets has one name, in whatever order; it is neither one's alone."""
    with _tcp() as one, _unix(tmp_path / "s") as two:
        assert _name(one, two) == _name(two, one) == _name(one, two, one)
        assert len({_name(one), _name(two), _name(one, two)}) == 3


def test_two_unix_sockets_of_one_path_are_two_instances(tmp_path: Path) -> None:
    """A server that takes over another one's path is another instance."""
    with _unix(tmp_path / "s") as one, _unix(tmp_path / "s") as two:
        assert one.getsockname() == two.getsockname()
        assert _name(one) != _name(two)


def test_two_servers_on_one_port_are_two_instances() -> None:
    """SO_REUSEPORT shares a port, and no ledger."""
    with (
        _tcp(reuse_port=True) as one,
        _tcp(reuse_port=True, port=one.getsockname()[1]) as two,
    ):
        assert one.getsockname() == two.getsockname()
        assert _name(one) != _name(two)


def test_workers_that_listen_on_their_own_are_named_by_their_server() -> None:
    """Sockets that are not shared by the workers of one server do not part them."""
    with _tcp(reuse_port=True) as one, _tcp(reuse_port=True) as two:
        named = [
            identify([fd], name=None, parent=parent, worker=True, group="")
            for fd, parent in [
                (one.fileno(), os.getpid()),
                (two.fileno(), os.getpid()),
                (two.fileno(), os.getppid()),
            ]
        ]

    first, second, other = (found.name if found else None for found in named)
    assert first == second
    assert second != other


def test_a_forked_child_is_of_its_parents_instance() -> None:
    """Workers have the sockets of the process that forked them, and so its name."""
    with _tcp() as listener:
        fds = [listener.fileno()]
        ours = _identified(fds)
        with Child(lambda: fds) as child, Child(lambda: fds) as sibling:
            names = [c.call(_identified, os.getpid()).name for c in (child, sibling)]

    assert names == [ours.name] * 2


_INHERITED = """
import json, sys
from otelmon.ledger import sockets
from otelmon.ledger.identity import identify
found = sockets.listening()
named = identify(found, name=None, parent=int(sys.argv[1]))
print(json.dumps([found, named.name, named.server.pid]))
"""


@pytest.mark.parametrize("sockets", [1, 5])
def test_sockets_that_were_handed_to_a_program_name_the_same_instance(sockets: int) -> None:
    """Socket activation: whoever made the sockets, the program that is started finds them."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(_tcp()) for _ in range(sockets)]
        ours = _identified([listener.fileno() for listener in listeners])
        fds = [os.dup(listener.fileno()) for listener in listeners]
        told = subprocess.run(
            [sys.executable, "-c", _INHERITED, str(os.getpid())],
            pass_fds=fds,
            capture_output=True,
            check=True,
            cwd=ROOT,
        )
        for fd in fds:
            os.close(fd)

    assert json.loads(told.stdout) == [fds, ours.name, os.getpid()]


def test_a_name_that_was_given_is_the_name() -> None:
    """OTELMON_INSTANCE overrides what the sockets say; versions that differ inside do not meet."""
    with _tcp() as listener:
        for fds in ([listener.fileno()], []):
            found = identify(fds, name="shop", parent=0)

            assert found is not None
            assert found.name == f"shop-{layout.LAYOUT:016x}"
            assert not found.told


def test_what_is_no_socket_names_nothing(tmp_path: Path) -> None:
    """Files, closed and impossible descriptors are harmless, and do not change a name."""
    reader, writer = os.pipe()
    with _tcp() as listener, (tmp_path / "file").open("w") as file:
        others = [reader, writer, file.fileno(), -1, 10**6]

        assert identify(others, name=None, parent=os.getppid()) is None
        assert _identified([*others, listener.fileno()]).name == _name(listener)
    os.close(reader)
    os.close(writer)
    assert identify([listener.fileno(), reader], name=None, parent=os.getppid()) is None
    assert identify([], name=None, parent=os.getppid()) is None


@pytest.mark.parametrize("timeout", [None, 5.0])
@pytest.mark.parametrize("blocking", [True, False])
def test_identifying_leaves_the_sockets_in_their_mode(
    timeout: float | None, blocking: bool
) -> None:
    """A server's socket stays blocking, or not, also under a default timeout."""
    with _tcp() as listener:
        listener.setblocking(blocking)
        socket.setdefaulttimeout(timeout)
        try:
            _name(listener)
        finally:
            socket.setdefaulttimeout(None)

        assert os.get_blocking(listener.fileno()) is blocking


# -- the server ----------------------------------------------------------------------------------


def test_the_parent_is_the_server_if_it_has_the_socket() -> None:
    """A worker's server is its parent; a process whose parent has no such socket is its own."""
    with _tcp() as listener:
        fds = [listener.fileno()]
        with Child(lambda: fds) as worker:
            served = worker.call(_identified, os.getpid())
        alone = _identified(fds, os.getppid())

    assert served.server == Process(os.getpid(), start_time(os.getpid()) or 0)
    assert served.server.alive
    assert alone.server.pid == os.getpid()


def test_a_parent_that_has_gone_is_no_server() -> None:
    """Without its parent a process is its own server."""
    gone = _gone()
    with _tcp() as listener:
        assert _identified([listener.fileno()], gone).server.pid == os.getpid()


def test_a_worker_of_another_user_knows_its_server() -> None:
    """A worker that gave up root's rights may not look into its parent, but was told of it."""
    with _tcp() as listener:
        fds = [listener.fileno()]
        with Child(lambda: _as_nobody(fds)) as worker:
            served = worker.call(_worker_of, os.getpid())

    assert served is not None
    assert served.server.pid == os.getpid()
    assert served.server.alive


def _as_nobody(fds: list[int]) -> list[int]:
    os.setuid(NOBODY)
    return fds


def _worker_of(fds: list[int], parent: int) -> Identity | None:
    return identify(fds, name=None, parent=parent, worker=True)


# -- processes -----------------------------------------------------------------------------------


def _gone() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_a_process_is_alive_until_it_ends() -> None:
    """A killed process is not alive, not even before its parent has waited for it."""
    with Child(lambda: None) as child:
        process = Process(child.pid, start_time(child.pid) or 0)
        assert _lives(process)

        os.kill(child.pid, 9)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{child.pid}").exists()
        assert not _lives(process)
        child.wait()
    assert not _lives(process)


def _lives(process: Process) -> bool:
    return process.alive


def test_another_process_of_the_same_id_is_another_process() -> None:
    """Ids are used again; a process that started at another time is not the one that is meant."""
    started = start_time(os.getpid())

    assert started is not None
    assert Process(os.getpid(), started).alive
    assert not Process(os.getpid(), started - 1).alive


@pytest.mark.parametrize("name", ["a b", ")", "(", ") R 1 2", "((a) 9)", "\n)", "0"])
def test_a_command_may_have_any_name(name: str) -> None:
    """Spaces and parentheses in a command's name do not shift the fields behind it."""

    def renamed() -> None:
        before = start_time(os.getpid())
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
        assert f"({name}) ".encode() in Path("/proc/self/stat").read_bytes()
        assert before is not None
        assert start_time(os.getpid()) == before

    assert forked(renamed) == 0


def test_who_never_was_has_no_start() -> None:
    """A process that does not exist has no start time, and is not alive."""
    assert start_time(_gone()) is None
    assert not Process(0, 0).alive


# -- systems that tell less ----------------------------------------------------------------------


def test_the_boot_and_the_namespace_are_told() -> None:
    """Both are the same for every process of this machine's namespace."""
    with Child(lambda: None) as child:
        assert child.call(_places) == (identity.boot_id(), identity.network_namespace())
    assert len(identity.boot_id()) == 16
    assert any(identity.boot_id())
    assert identity.network_namespace() > 0


def _places(_: None) -> tuple[bytes, int]:
    return identity.boot_id(), identity.network_namespace()


def _unreadable(*_: object, **__: object) -> str:
    raise FileNotFoundError


@pytest.mark.parametrize("read_text", [_unreadable, lambda _: "no boot id\n"])
def test_without_a_boot_id_zeros_stand_for_it(
    monkeypatch: pytest.MonkeyPatch, read_text: Callable[..., str]
) -> None:
    """Where there is no boot id, or no such number, nothing fails."""
    monkeypatch.setattr(Path, "read_text", read_text)

    assert identity.boot_id() == bytes(16)


def test_without_a_network_namespace_no_socket_names_an_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cookies are counted per namespace; where none is known nothing is shared."""
    with monkeypatch.context() as patched, _tcp() as listener:
        patched.setattr(Path, "stat", _unreadable)

        assert identity.network_namespace() == 0
        assert identify([listener.fileno()], name=None, parent=0) is None
        assert identify([listener.fileno()], name="shop", parent=0) is None
