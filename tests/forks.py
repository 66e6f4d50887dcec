"""Forked children that do what they are told, one call at a time, and are reaped whatever happens.

A child never returns into the test that forked it: it ends in `os._exit`, which writes its coverage
data, or it is killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, Self, TypeVar

from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from types import TracebackType


T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

_ANSWER_SECONDS = 60.0
_END_SECONDS = 60.0
# A child closes its elder siblings' ends: else they would not see their parent go.
_ends: set[Connection] = set()


class Child(Generic[T]):
    """A forked child that holds what *make* returned there, and calls functions with it."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Fork, and wait until *make* has returned in the child; what it raises is raised here."""
        self._ours, theirs = multiprocessing.Pipe()
        _ends.add(self._ours)
        self.pid = os.fork()
        if self.pid == 0:
            _obey(make, theirs)
        theirs.close()
        self._alive = True
        try:
            self.answer()
        except BaseException:
            self.kill()
            raise

    def call(self, do: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what `do(thing, ...)` returns in the child, or raise what it raises there.

        *do* is found by its name in its module, so it is no lambda.
        """
        self.send(do, *args, **kwargs)
        answer: R = self.answer()
        return answer

    def send(
        self, do: Callable[Concatenate[T, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Begin a call; `answer` waits for its end."""
        self._ours.send((do, args, kwargs))

    def answer(self) -> Any:  # noqa: ANN401 - whatever was called returns
        """Return what the call that was sent returns, or raise what it raises."""
        assert self._ours.poll(_ANSWER_SECONDS), f"child {self.pid} does not answer"
        returned, raised = self._ours.recv()
        if raised is not None:
            raise raised
        return returned

    def kill(self) -> None:
        """Kill the child where it stands, and reap it."""
        if self._alive:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def exit(self) -> None:
        """Have the child exit, and reap it."""
        self._ours.send(None)
        assert self.wait() == 0

    def wait(self) -> int:
        """Reap a child that ends by itself; return its exit code, or minus the signal."""
        self._alive = False
        try:
            return _reaped(self.pid)
        finally:
            _ends.discard(self._ours)
            self._ours.close()

    def __enter__(self) -> Self:
        """Be ended at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the child exit; kill it if something went wrong."""
        if self._alive and kind is None:
            self.exit()
        self.kill()


def _obey(make: Callable[[], object], orders: Connection) -> NoReturn:
    try:
        for end in _ends:
            end.close()
        thing: list[object] = []
        orders.send(_outcome(lambda: thing.append(make())))
        while (order := orders.recv()) is not None:
            do, args, kwargs = order
            orders.send(_outcome(do, *thing, *args, **kwargs))
    finally:
        os._exit(0)


def _outcome(
    do: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> tuple[object, BaseException | None]:
    try:
        return do(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
        return None, error


def forked(run: Callable[[], object]) -> int:
    """Run *run* in a forked child; return its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    return _reaped(pid)


@contextlib.contextmanager
def forks_during(call: Callable[P, R]) -> Iterator[Callable[P, R]]:
    """Yield *call* such that it forks once it was made for the first time.

    The child is as one that another thread forks at that moment, and lives until the end of the
    block.
    """
    reader, writer = os.pipe()
    children: list[int] = []

    def forking(*args: P.args, **kwargs: P.kwargs) -> R:
        returned = call(*args, **kwargs)
        if not children:
            children.append(os.fork())
            if not children[0]:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
        return returned

    try:
        yield forking
    finally:
        os.close(reader)
        os.close(writer)
        assert [_reaped(child) for child in children] == [0]


def _reaped(pid: int) -> int:
    """Wait for a child's end; return its exit code, or minus the signal. One that stays is killed."""
    status: list[int] = []

    def has_ended() -> bool:
        ended, told = os.waitpid(pid, os.WNOHANG)
        if ended:
            status.append(told)
        return bool(status)

    if not until(has_ended, _END_SECONDS, every=0.001):
        os.kill(pid, signal.SIGKILL)
        assert until(has_ended), f"child {pid} outlives its kill"
        raise AssertionError(f"child {pid} did not end within {_END_SECONDS:.0f} s")
    return os.waitstatus_to_exitcode(status[0])
