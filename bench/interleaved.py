"""Costs that hold when the machine's speed drifts: all cases in turn, many short rounds."""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Cost(NamedTuple):
    """What one run of a case cost, over all rounds."""

    least: float
    median: float


def cost(seen: Sequence[float]) -> Cost:
    """Sum up the rounds of one case."""
    return Cost(min(seen), statistics.median(seen))


def in_turn(
    cases: Mapping[str, Callable[[], float]], *, rounds: int, seconds: float = 60.0
) -> dict[str, list[float]]:
    """Ask each case in each round for a cost; begin no round when *seconds* are over.

    Every second round goes backwards, so that a drift favours nobody.
    """
    seen: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases)
    deadline = time.monotonic() + seconds
    while len(seen[order[0]]) < rounds and time.monotonic() < deadline:
        for name in order:
            seen[name].append(cases[name]())
        order.reverse()
    return seen


def cpu(case: Callable[[], object], *, calls: int) -> float:
    """Return the CPU time of one call in ns, as a mean of *calls*."""
    began = time.process_time_ns()
    for _ in range(calls):
        case()
    return (time.process_time_ns() - began) / calls


def measure(
    cases: Mapping[str, Callable[[], object]], *, calls: int, rounds: int
) -> dict[str, Cost]:
    """Make *calls* calls of each case in each of *rounds*; return the CPU time of one call in ns."""
    timed = {name: partial(cpu, case, calls=calls) for name, case in cases.items()}
    return {name: cost(seen) for name, seen in in_turn(timed, rounds=rounds).items()}
