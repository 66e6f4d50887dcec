"""Real threads, waits with a deadline, and calls that may hang; also where gevent has patched."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

import pytest

from otelmon import threads
from otelmon.errors import OtelmonError
from otelmon.threads import Alarm, Errand
from tests.gunicorn_server import ROOT
from tests.waiting import until


if TYPE_CHECKING:
    from types import FrameType


class PlannedError(Exception):
    """Raised on purpose."""


# -- Alarm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 0.001])
def test_a_silent_alarm_ends_at_its_deadline(seconds: float) -> None:
    """A wait that nobody ends returns False, and can be made again."""
    alarm = Alarm()

    assert [alarm.wait(seconds), alarm.wait(seconds)] == [False, False]
    assert not alarm.rung


def test_an_alarm_that_has_rung_ends_every_wait() -> None:
    """An alarm may ring before the wait and more than once; it stays rung."""
    alarm = Alarm()
    alarm.ring()
    alarm.ring()

    assert [alarm.wait(60.0), alarm.wait(60.0), alarm.rung] == [True, True, True]


def test_an_alarm_wakes_its_waiter() -> None:
    """A thread that waits goes on when another one rings."""
    alarm, woken = Alarm(), []
    waiter = threading.Thread(target=lambda: woken.append(alarm.wait(60.0)))
    waiter.start()

    alarm.ring()
    waiter.join(30)

    assert woken == [True]
    assert alarm.wait(60.0)


# -- start -----------------------------------------------------------------------------------------


def test_a_thread_is_one_of_the_system() -> None:
    """What is started runs in a thread of its own."""
    alarm, found = Alarm(), []

    def run() -> None:
        found.append(threading.get_native_id())
        alarm.ring()

    threads.start(run)

    assert alarm.wait(30.0)
    assert found != [threading.get_native_id()]


def test_a_thread_is_followed_by_debuggers() -> None:
    """The trace function of new threads, which debuggers and coverage set, sees ours as well."""
    alarm, called = Alarm(), []

    def run() -> None:
        seen_by_the_tracer()
        alarm.ring()

    def seen_by_the_tracer() -> None:
        """Be called."""

    def trace(frame: FrameType, _: str, __: object) -> None:
        called.append(frame.f_code.co_name)

    before = threading.gettrace()
    threading.settrace(trace)
    try:
        threads.start(run)
        assert alarm.wait(30.0)
    finally:
        threading.settrace(before)

    assert "seen_by_the_tracer" in called


def test_a_thread_does_not_hold_up_the_end() -> None:
    """A process ends although a thread of ours waits for an hour."""
    program = (
        "from otelmon import threads\n"
        "begun = threads.Alarm()\n"
        "def run():\n"
        "    begun.ring()\n"
        "    threads.Alarm().wait(3600)\n"
        "threads.start(run)\n"
        "assert begun.wait(30)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


# -- Errand ----------------------------------------------------------------------------------------


def test_an_errand_returns_what_its_call_returns() -> None:
    """Each run makes the call once more."""
    numbers = iter(range(3))
    errand = Errand(lambda: next(numbers))

    assert [errand.run(30.0) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "reaches"),
    [
        (PlannedError, "^$"),
        (SystemExit, "SystemExit"),
        (asyncio.CancelledError, "CancelledError"),
    ],
)
def test_an_errand_raises_what_its_call_raises(error: type[BaseException], reaches: str) -> None:
    """An exception reaches whoever waits, as one that ends no thread; the next run tries again."""
    fails = iter([True, False])

    def call() -> str:
        if next(fails):
            raise error
        return "well"

    errand = Errand(call)

    with pytest.raises(error if issubclass(error, Exception) else OtelmonError, match=reaches):
        errand.run(30.0)
    assert errand.run(30.0) == "well"


def test_a_call_that_hangs_is_left_behind_and_not_made_again() -> None:
    """After the deadline each run says so at once, until the one call is back; then it is made anew."""
    calls: list[None] = []
    gate, returned = threading.Event(), Alarm()

    def call() -> int:
        calls.append(None)
        if len(calls) == 1:
            gate.wait(60)
            returned.ring()
        return len(calls)

    errand = Errand(call)

    assert not errand.late
    for seconds in (0.01, 60.0, 60.0):
        with pytest.raises(TimeoutError, match=r"has not come back after \d+ s\.$"):
            errand.run(seconds)
    # On a busy machine its thread may begin after all of these.
    assert until(lambda: len(calls) == 1 and errand.late)

    gate.set()
    assert returned.wait(30.0)
    results: list[int] = []

    def comes_back() -> bool:
        with contextlib.suppress(TimeoutError):
            results.append(errand.run(60.0))
        return bool(results)

    assert until(comes_back)
    # The one that was left behind returned 1, which was so before the gate was opened.
    assert [*results, errand.run(60.0)] == [2, 3]
    assert not errand.late


def test_an_old_outcome_is_for_who_asks_for_it() -> None:
    """What a call found that was left behind is had once, without another call."""
    numbers = iter(range(3))
    errand = Errand(lambda: next(numbers))

    assert errand.start()
    assert until(lambda: errand.idle)
    assert [errand.run(60.0, old=True) for _ in range(2)] == [0, 1]
    assert errand.start()
    assert until(lambda: errand.idle)
    with pytest.raises(StopIteration):
        errand.run(60.0)


def test_an_errand_survives_a_system_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be had the run raises; the next one tries again and waits for its call."""
    errand = Errand(lambda: "done")

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threads, "start", refuse)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                errand.run(30.0)

    assert errand.run(30.0) == "done"


# -- gevent ----------------------------------------------------------------------------------------


def test_without_gevent_the_original_is_what_the_module_holds() -> None:
    """Nothing is patched here, so nothing differs."""
    assert threads.original(_thread, "allocate_lock") is _thread.allocate_lock
    assert threads.original(threading, "Thread") is threading.Thread


IMPORT: Final = "from otelmon import threads\n"
PATCH: Final = "from gevent import monkey; monkey.patch_all()\n"
PROGRAM: Final = """
import _thread, threading, time

for name in ("allocate_lock", "start_new_thread", "get_ident"):
    assert threads.original(_thread, name) is not getattr(_thread, name), name
assert threads.original(_thread, "RLock") is _thread.RLock

native = threads.original(_thread, "get_ident")
done, found = threads.Alarm(), []

def run():
    # Goes on while the only greenlet of the main thread computes without a pause.
    found.append((native(), threads.Alarm().wait(0.05)))
    done.ring()

threads.start(run)
deadline = time.perf_counter() + 20
while not done.rung:
    assert time.perf_counter() < deadline
assert done.wait(60)
assert found[0][0] != native() and found[0][1] is False
assert threads.Errand(lambda: native()).run(20) != native()
print("well")
"""


@pytest.mark.parametrize("beginning", [IMPORT + PATCH, PATCH + IMPORT], ids=["after", "before"])
def test_gevent_s_patches_are_passed_by(beginning: str) -> None:
    """Patched before or after the import, threads, locks and waits are those of the system."""
    done = subprocess.run(
        [sys.executable, "-c", beginning + PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("well\n", 0), done.stderr


LOOPS: Final = """
import os, time
import gevent

def held():
    return len(os.listdir("/proc/self/fd"))

def wait_there():
    threads.Errand(lambda: gevent.sleep(0.001)).run(20)

gevent.sleep(0)  # this thread's own loop, which stays
wait_there()
before, deadline = held(), time.monotonic() + 20
for _ in range(20):
    wait_there()
while held() > before:
    assert time.monotonic() < deadline, (held(), before)
    time.sleep(0.01)  # between two looks, until the deadline
print("well")
"""


def test_a_thread_gives_back_the_loop_that_gevent_made_for_it() -> None:
    """Twenty threads that waited for something of gevent's leave no descriptor behind."""
    done = subprocess.run(
        [sys.executable, "-c", PATCH + IMPORT + LOOPS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("well\n", 0), done.stderr
