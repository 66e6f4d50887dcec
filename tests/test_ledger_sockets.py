"""What the kernel tells of listening sockets, and that asking disturbs nobody."""

from __future__ import annotations

import _socket
import contextlib
import errno
import fcntl
import os
import socket
from typing import TYPE_CHECKING

import pytest

from otelmon.ledger import sockets
from tests.forks import Child
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _tcp() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    return listener


def _unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(16)
    return listener


def _descriptors() -> set[str]:
    """Return what is open; of what other tests left so, something may be closed at any time."""
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names of descriptors, not paths


@contextlib.contextmanager
def _waiting(listener: socket.socket, number: int) -> Iterator[None]:
    """Have *number* connections wait to be accepted."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        yield


def test_the_listening_sockets_are_found_among_all_descriptors(tmp_path: Path) -> None:
    """Bound, connected and closed sockets, files and pipes are none; both families are."""
    before = sockets.listening()
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    closed = _tcp()
    closed.close()
    with _tcp() as tcp, _unix(tmp_path / "s") as unix, bound, (tmp_path / "file").open("w"):
        with socket.create_connection(tcp.getsockname()):
            found = sockets.listening()

        assert sorted(set(found) - set(before)) == sorted([tcp.fileno(), unix.fileno()])


def test_without_proc_no_socket_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where descriptors cannot be listed there are no listening sockets, and no error."""

    def missing(_: str) -> list[str]:
        raise FileNotFoundError

    monkeypatch.setattr(os, "listdir", missing)

    assert sockets.listening() == []


def test_a_cookie_is_the_sockets_own_and_lasts() -> None:
    """Two sockets have two cookies; a copy of a descriptor has the same one."""
    with _tcp() as one, _tcp() as two:
        copy = os.dup(one.fileno())

        cookies = [sockets.cookie(fd) for fd in (one.fileno(), two.fileno(), copy)]

        os.close(copy)
    assert cookies[0] == cookies[2]
    assert cookies[0] != cookies[1]
    assert all(cookie is not None and len(cookie) == 8 for cookie in cookies)


def test_what_is_no_socket_has_no_cookie(tmp_path: Path) -> None:
    """Files, pipes, closed and impossible descriptors have no cookie, and stay as they were."""
    reader, writer = os.pipe()
    with (tmp_path / "file").open("w") as file:
        before = [os.get_blocking(fd) for fd in (reader, writer)]

        assert [sockets.cookie(fd) for fd in (reader, writer, file.fileno())] == [None] * 3
        assert [os.get_blocking(fd) for fd in (reader, writer)] == before
        assert file.write("still open") == 10
    os.close(reader)
    os.close(writer)
    assert [sockets.cookie(fd) for fd in (reader, -1, 10**6)] == [None] * 3


@pytest.mark.parametrize("waiting", [0, 3])
def test_the_backlog_is_what_waits_to_be_accepted(waiting: int) -> None:
    """Connections that nobody accepted are counted, over all sockets; accepted ones are not."""
    with _tcp() as one, _tcp() as two, _waiting(one, waiting), _waiting(two, 1):
        both = [one.fileno(), two.fileno()]
        assert until(lambda: sockets.backlog(both) == waiting + 1)

        two.accept()[0].close()
        assert until(lambda: sockets.backlog(both) == waiting)


def test_sockets_that_do_not_tell_have_no_backlog(tmp_path: Path) -> None:
    """Of unix sockets, of none and of closed ones the backlog is unknown, not nothing."""
    with _unix(tmp_path / "s") as unix:
        assert sockets.backlog([unix.fileno()]) is None
    assert sockets.backlog([]) is None
    assert sockets.backlog([unix.fileno(), -1]) is None


def test_a_socket_of_which_python_makes_no_object_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A family that Python does not know has no cookie, and leaves no descriptor open."""

    def unknown(**_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    with _tcp() as listener:
        before = _descriptors()
        monkeypatch.setattr(_socket, "socket", unknown)

        assert sockets.cookie(listener.fileno()) is None

        monkeypatch.undo()
        assert _descriptors() <= before


@pytest.fixture(params=[None, 5.0], ids=["no-default-timeout", "default-timeout"])
def _default_timeout(request: pytest.FixtureRequest) -> Iterator[None]:
    socket.setdefaulttimeout(request.param)
    yield
    socket.setdefaulttimeout(None)


@pytest.mark.usefixtures("_default_timeout")
@pytest.mark.parametrize("blocking", [True, False])
def test_asking_leaves_a_socket_in_its_mode(blocking: bool) -> None:
    """Blocking or not, the server's socket is as it was, also under a default timeout."""
    with _tcp() as listener:
        os.set_blocking(listener.fileno(), blocking)

        assert listener.fileno() in sockets.listening()
        assert sockets.cookie(listener.fileno()) is not None
        assert sockets.backlog([listener.fileno()]) == 0

        assert os.get_blocking(listener.fileno()) is blocking


def test_asking_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    """However often sockets and other files are asked, no descriptor is left open."""
    with _tcp() as listener, (tmp_path / "file").open("w") as file:
        asked = [listener.fileno(), file.fileno(), -1]
        before = _descriptors()
        for _ in range(10):
            sockets.listening()
            sockets.backlog(asked)
            for fd in asked:
                sockets.cookie(fd)

        assert _descriptors() <= before


def test_asking_leaves_the_applications_locks_alone(tmp_path: Path) -> None:
    """A POSIX lock on any open file, as SQLite takes them, outlives every look for sockets."""
    with (tmp_path / "file").open("w") as file, _tcp() as listener:
        fcntl.lockf(file, fcntl.LOCK_EX)

        assert listener.fileno() in sockets.listening()
        assert sockets.cookie(file.fileno()) is None
        assert sockets.backlog([file.fileno()]) is None

        with Child(lambda: None) as other, pytest.raises(BlockingIOError):
            other.call(_lock, tmp_path / "file")


def _lock(_: None, path: Path) -> None:
    with path.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.usefixtures("_default_timeout")
@pytest.mark.parametrize("moment", ["dup", "get_blocking"])
@pytest.mark.parametrize("used_again", [True, False])
def test_a_descriptor_that_another_thread_closes_meanwhile_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, moment: str, used_again: bool
) -> None:
    """Closed while it is asked, even given to another file, a number is not touched any more."""
    listener = _tcp()
    number = listener.fileno()
    call, pipes = getattr(os, moment), list[int]()

    def interrupted(fd: int) -> object:
        result = call(fd)
        if listener.fileno() >= 0:
            listener.close()
            if used_again:
                pipes.extend(os.pipe2(os.O_NONBLOCK))
        return result

    monkeypatch.setattr(os, moment, interrupted)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names of descriptors, not paths

    assert sockets.cookie(number) is not None

    monkeypatch.undo()
    after = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as above
    assert after == before - 1 + len(pipes)
    assert used_again == (number in pipes)
    assert not any(os.get_blocking(fd) for fd in pipes)
    for fd in pipes:
        os.close(fd)
