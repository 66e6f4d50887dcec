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

from otelmon import ConfigError, faults


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


def test_the_first_of_a_kind_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One ERROR record of the logger `otelmon` names kind and error, and where it was raised."""
    faults.report("some_kind", raised("the reason"))

    (record,) = caplog.records
    assert (record.name, record.levelname) == ("otelmon", "ERROR")
    line, *rest = record.getMessage().split("\n")
    assert line == (
        "some_kind failed: the reason (PlannedError). The application goes on; further failures of "
        "this kind and class are only counted, see /health."
    )
    assert rest[0] == "PlannedError. Traceback (most recent call last):"
    assert rest[-1].strip() == "raise PlannedError(message)"
    assert ", in _raise" in rest[-2]


def _connect(address: str) -> None:
    try:
        _find(address)
    except LookupError:
        raise ConnectionError(f"refused: {address}\n{address}")  # noqa: B904 - so it is the context


def _find(address: str) -> None:
    try:
        _raise(f"cannot reach {address}")
    except PlannedError as error:
        raise LookupError(address) from error


@pytest.mark.parametrize(
    "address", ["postgresql://shop:pa55@db/shop", "host=db password='pa 55' dbname=shop"]
)
def test_no_password_reaches_the_log(caplog: pytest.LogCaptureFixture, address: str) -> None:
    """Neither that of the error's message nor those of its causes' do; where each was raised does."""
    with pytest.raises(ConnectionError) as caught:
        _connect(address)
    faults.report("database", caught.value)

    (record,) = caplog.records
    text = logging.Formatter().format(record)
    assert "55" not in text
    assert text.startswith("database failed: refused: ")
    for name in ("ConnectionError", "LookupError", "PlannedError"):
        assert f"{name}. Traceback (most recent call last):" in text
    assert [text.count(f", in {name}\n") for name in ("_connect", "_find", "_raise")] == [2, 2, 1]


def test_what_otelmon_says_itself_is_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    """All lines of its own errors are, but for credentials in them."""
    faults.report("settings", ConfigError("One is wrong.", "redis://me:hush@h/ is too. " * 20))

    (record,) = caplog.records
    assert "One is wrong.\n" in record.getMessage()
    assert record.getMessage().count("...@h/ is too.") == 20
    assert "hush" not in record.getMessage()


def test_an_error_that_cannot_be_told_is_told_by_its_class(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither a message that raises nor errors that are each other's cause stop a report."""

    class MuteError(Exception):
        """Has no message."""

        def __str__(self) -> str:
            raise RuntimeError

    first, second = MuteError(), raised()
    first.__cause__, second.__cause__ = second, first
    faults.report("kind", first)

    assert caplog.records[0].getMessage().startswith("kind failed: MuteError. The application")
    assert caplog.records[0].getMessage().count("Traceback") == 2


def test_further_ones_are_only_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Of each kind one line is written for a class of errors, however often that comes back."""
    for _ in range(5):
        faults.report("one", raised())
    for error in (OSError(), raised(), OSError()):
        faults.report("one", error)
    faults.report("two", raised())

    assert [record.getMessage().split()[0] for record in caplog.records] == ["one", "one", "two"]
    assert [("OSError" in record.getMessage()) for record in caplog.records] == [0, 1, 0]
    assert {kind: fault.times for kind, fault in faults.seen().items()} == {"one": 8, "two": 1}


@pytest.mark.parametrize("parts", [1, 50])
def test_a_kind_has_only_so_many_lines(caplog: pytest.LogCaptureFixture, *, parts: int) -> None:
    """One for each of twenty parts and all others, and twenty for other classes. All is counted."""
    for part in range(parts):
        for number in range(60):
            faults.report("kind", type(f"Error{number}", (Exception,), {})(), of=f"part{part}")

    lines = [record.getMessage().split(":")[0] for record in caplog.records]
    assert len(set(lines)) == min(parts, 21)
    assert len(lines) == len(set(lines)) + 20
    assert faults.seen()["kind"].times == 60 * parts


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
        ("{'password': 'hush', 'port': 1}", "{'password': ..., 'port': 1}"),
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


def test_parts_that_fail_in_one_way_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    """Each is counted with its own error and said once; past the first twenty they share a name."""
    for _ in range(2):
        faults.report("kind", raised("first"), of="a.one")
    faults.report("kind", KeyError("x"), of="a.two")
    found = faults.seen()["kind"]
    assert found.times == 3
    assert {name: (each.times, each.error) for name, each in found.each.items()} == {
        "a.one": (2, "PlannedError"),
        "a.two": (1, "KeyError"),
    }
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "kind a.one failed",
        "kind a.two failed",
    ]
    for number in range(30):
        faults.report("kind", KeyError("x"), of=str(number))
    found = faults.seen()["kind"]
    assert len(found.each) == faults.MOST_NAMES + 1
    assert found.each[faults.OTHERS].times == 30 - (faults.MOST_NAMES - 2)
    assert len(caplog.records) == faults.MOST_NAMES + 1
