"""A breaker: opens after failures in a row, tries once, closes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from otelmon.caches.breaker import CLOSED, HALF_OPEN, OPEN, Breaker


if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="breaker")
def _breaker(clock: Clock) -> Breaker:
    return Breaker("here", failures=3, seconds=5, clock=clock)


def fail(breaker: Breaker, times: int) -> None:
    """Have so many calls fail."""
    for _ in range(times):
        assert breaker.admit()
        breaker.failed()


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    """Two failures and an answer are nothing; three failures in a row open it."""
    fail(breaker, 2)
    breaker.passed()
    fail(breaker, 2)
    assert breaker.state == CLOSED
    fail(breaker, 1)

    assert breaker.state == OPEN
    assert not breaker.admit()


@pytest.mark.parametrize(
    ("end", "state"),
    [(Breaker.passed, CLOSED), (Breaker.failed, OPEN), (Breaker.dropped, OPEN)],
)
def test_one_call_is_let_through_and_its_end_decides(
    breaker: Breaker, clock: Clock, end: Callable[[Breaker], None], state: int
) -> None:
    """After its time one call passes and no second one; its answer closes it, its failure does not."""
    fail(breaker, 3)
    clock.now += 4.9
    assert not breaker.admit()
    clock.now += 0.2
    assert breaker.admit()
    assert breaker.state == HALF_OPEN
    assert not breaker.admit()
    end(breaker)

    assert breaker.state == state


def test_a_failed_trial_waits_as_long_again(breaker: Breaker, clock: Clock) -> None:
    """The next trial comes after the same time."""
    fail(breaker, 3)
    clock.now += 5
    fail(breaker, 1)
    clock.now += 4.9
    assert not breaker.admit()
    clock.now += 0.2
    assert breaker.admit()


def test_a_trial_that_never_ends_keeps_it_open_no_longer(breaker: Breaker, clock: Clock) -> None:
    """If whoever tried was killed, another one tries after the same time."""
    fail(breaker, 3)
    clock.now += 5
    assert breaker.admit()
    clock.now += 5
    assert breaker.admit()
    assert not breaker.admit()


def test_it_says_how_it_stands(breaker: Breaker, clock: Clock) -> None:
    """Each change is told once."""
    told: list[int] = []
    breaker.told = told.append
    fail(breaker, 3)
    clock.now += 5
    assert breaker.admit()
    breaker.passed()
    breaker.passed()

    assert told == [OPEN, HALF_OPEN, CLOSED]


def test_a_forked_child_begins_closed(breaker: Breaker, clock: Clock) -> None:
    """What its parent has learned, also in the middle of a trial, is its parent's."""
    fail(breaker, 3)
    clock.now += 5
    assert breaker.admit()
    pid = os.fork()
    if pid == 0:
        os._exit(int(not (breaker.state == CLOSED and breaker.admit())))

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert breaker.state == HALF_OPEN
