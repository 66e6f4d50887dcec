"""Failures inside otelmon: said once, counted always, never in anybody's way."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from otelmon import faults


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class PlannedError(Exception):
    """Reported on purpose."""


def raised(message: str = "secret") -> PlannedError:
    """Return an exception that has a traceback."""
    with pytest.raises(PlannedError) as caught:
        _raise(message)
    return caught.value


def _raise(message: str) -> None:
    raise PlannedError(message)


class Telling(logging.Handler):
    """A handler that calls a function at each record."""

    def __init__(self, tell: Callable[[], None]) -> None:
        """Call *tell*."""
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Call it."""
        self._tell()


@pytest.fixture(name="on_record")
def _on_record() -> Iterator[Callable[[Callable[[], None]], None]]:
    handlers: list[Telling] = []

    def add(tell: Callable[[], None]) -> None:
        handlers.append(Telling(tell))
        faults.log.addHandler(handlers[-1])

    yield add
    for handler in handlers:
        faults.log.removeHandler(handler)


def test_the_first_of_a_kind_is_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    """One ERROR line of the logger `otelmon` names kind and error, and has the traceback."""
    error = raised("the reason")
    faults.report("some_kind", error)

    (record,) = caplog.records
    assert (record.name, record.levelname) == ("otelmon", "ERROR")
    assert record.getMessage() == (
        "some_kind failed: the reason. The application goes on; further failures of this kind "
        "are only counted, see /health."
    )
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_further_ones_are_only_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Of each kind one line is written, however often and by whatever error it fails."""
    for _ in range(5):
        faults.report("one", raised())
    faults.report("one", OSError())
    faults.report("two", raised())

    assert [record.getMessage().split()[0] for record in caplog.records] == ["one", "two"]
    assert {kind: fault.times for kind, fault in faults.seen().items()} == {"one": 6, "two": 1}


def test_only_the_last_error_s_class_and_time_are_kept() -> None:
    """What `/health` may show of a failure is its class and when it was, no message."""
    before = time.time_ns() / 1e9
    faults.report("kind", raised("password=1234"))
    faults.report("kind", KeyError("password=1234"))

    fault = faults.seen()["kind"]
    assert fault[:2] == (2, "KeyError")
    assert before <= fault.at <= time.time_ns() / 1e9
    assert "1234" not in repr(faults.seen())


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("no way to db:5432", "no way to db:5432"),
        ("'http://me:hush@h/p' is down", "...@h/p' is down"),
        ("http://me:hu@sh/?@h:1/p", "...@h:1/p"),
        ("url: /p?key=hush (refused)", "url: /p?... (refused)"),
        ("Is it there?\nhush", "Is it there?"),
        ("a " * 200, "a " * 100 + "..."),
    ],
)
def test_credentials_in_a_message_are_left_out(message: str, left: str) -> None:
    """And all lines but the first, and what is too long for one."""
    assert faults.said(message) == left


def test_what_was_seen_is_a_copy() -> None:
    """Whoever asks gets a state of its own."""
    faults.seen()["kind"] = faults.Fault(1, "Error", 0.0)

    assert faults.seen() == {}


def test_a_handler_may_fail_in_its_turn(
    on_record: Callable[[Callable[[], None]], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A failure that is reported while another is logged is logged as well, and no lock waits."""
    on_record(lambda: faults.report("nested", raised()))

    faults.report("kind", raised())

    assert {kind: fault.times for kind, fault in faults.seen().items()} == {"kind": 1, "nested": 2}
    assert len(caplog.records) == 2


def test_a_slow_log_keeps_no_other_thread_waiting(
    on_record: Callable[[Callable[[], None]], None],
) -> None:
    """While one thread writes the line, others count."""
    counted: list[int] = []

    def ask() -> None:
        other = threading.Thread(target=lambda: counted.append(len(faults.seen())))
        other.start()
        other.join(60)

    on_record(ask)
    faults.report("kind", raised())

    assert counted == [1]


def test_threads_are_all_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Eight threads that fail at once are counted exactly, and one of them is logged."""

    def fail() -> None:
        for _ in range(500):
            faults.report("kind", raised())

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults.seen()["kind"].times == 4000
    assert len(caplog.records) == 1


def test_a_gc_callback_may_report_while_one_is_reported() -> None:
    """A callback that interrupts a report reports without waiting for it."""
    interrupted: list[str] = []

    class Error(Exception):
        """An error whose class is asked for by the report."""

    def callback(phase: str, _: object) -> None:
        interrupted.append(phase)
        faults.report("callback", raised())

    gc.callbacks.append(callback)
    try:
        with faults._lock:
            gc.collect()
        faults.report("kind", Error())
    finally:
        gc.callbacks.remove(callback)

    assert interrupted[:2] == ["start", "stop"]
    assert faults.seen()["callback"].times >= 2
    assert faults.seen()["kind"].times == 1


def test_a_forked_child_begins_anew() -> None:
    """A child has seen nothing, also if a thread of its parent was reporting at the fork."""
    faults.report("parents", raised())
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with faults._lock:
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # SIGALRM ends a child that waits for the lock
        faults.report("childs", raised())
        os._exit(0 if list(faults.seen()) == ["childs"] else 1)
    done.set()
    holder.join()

    assert os.waitpid(pid, 0) == (pid, 0)
    assert list(faults.seen()) == ["parents"]
