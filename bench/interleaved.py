"""Timing that holds when the machine's speed drifts: all cases in turn, many short rounds."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Cost(NamedTuple):
    """CPU time of one call in ns, over all rounds."""

    least: float
    median: float


def measure(
    cases: Mapping[str, Callable[[], object]], *, calls: int, rounds: int
) -> dict[str, Cost]:
    """Make *calls* calls of each case in each of *rounds*; return the cost of one call."""
    seen: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            began = time.process_time_ns()
            for _ in range(calls):
                case()
            seen[name].append((time.process_time_ns() - began) / calls)
    return {name: Cost(min(costs), statistics.median(costs)) for name, costs in seen.items()}


def table(costs: Mapping[str, Cost], *, over: str, unit: float, unit_name: str) -> str:
    """Return what each case adds to the case *over*, as the rows of a Markdown table."""
    base = costs[over]
    rows = [f"| case | added, min ({unit_name}) | added, median ({unit_name}) |", "|---|---|---|"]
    rows += [
        f"| {name} | {(cost.least - base.least) / unit:.2f} "
        f"| {(cost.median - base.median) / unit:.2f} |"
        for name, cost in costs.items()
        if name != over
    ]
    return "\n".join(rows)
