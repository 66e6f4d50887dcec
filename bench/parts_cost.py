"""What the parts of a measured request cost, each alone: where the time of `request` goes.

They are timed alone, by the wall clock; what lies between them (calls, attributes, iteration) is not
among them, and is the larger part.
"""

from __future__ import annotations

import timeit
from bisect import bisect_left
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING

from bench.interleaved import cost, in_turn
from bench.tables import show
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import SECONDS


if TYPE_CHECKING:
    from collections.abc import Callable


_CALLS = 100_000
_ROUNDS = 30
_EMPTY = "an empty loop"


class _Object:
    """As many slots as a request has, of which ten are set at once."""

    __slots__ = tuple(f"slot{number}" for number in range(18))

    def __init__(self) -> None:
        self.slot0 = self.slot1 = self.slot2 = self.slot3 = self.slot4 = None
        self.slot5 = self.slot6 = self.slot7 = self.slot8 = self.slot9 = None


# The statement, and how often a request with a list of one piece as its body does it.
_PARTS = {
    _EMPTY: ("pass", 0),
    "one object for call, body and end": ("make()", 1),
    "reading the clock": ("clock()", 3),
    "adding to a lane": ("counts[9] += 1", 7),
    "finding a bucket": ("find(bounds, 4321000)", 3),
    "finding the lanes by method, route, status, error, outcome": (
        "known[method, route, status, None, outcome]",
        1,
    ),
    "noting and forgetting the request in flight": ("live[7] = None; live.pop(7, None)", 1),
}


def _timers() -> dict[str, Callable[[], float]]:
    pen = Ledger().serve_alone()
    names = {
        "make": _Object,
        "clock": monotonic_ns,
        "counts": pen.counts,
        "find": bisect_left,
        "bounds": tuple(round(bound * 1e9) for bound in SECONDS),
        "known": {("GET", "/orders/<id>", "200 OK", None, "ok"): 9},
        "method": "GET",
        "route": "/orders/<id>",
        "status": "200 OK",
        "outcome": "ok",
        "live": {},
    }
    # Names that a function holds, as in the middleware, and not those of a module.
    setup = "; ".join(f"{name} = held[{name!r}]" for name in names)
    return {
        part: partial(timeit.Timer(statement, setup, globals={"held": names}).timeit, _CALLS)
        for part, (statement, _) in _PARTS.items()
    }


def main() -> None:
    """Print the cost of each part, and of all times that a request does it."""
    seen = {name: cost(each) for name, each in in_turn(_timers(), rounds=_ROUNDS).items()}
    empty = seen.pop(_EMPTY)
    show(
        "The parts of a measured request",
        ["part", "min (ns)", "median (ns)", "times", "in all (ns)"],
        [
            [
                name,
                f"{(found.least - empty.least) / _CALLS * 1e9:.0f}",
                f"{(found.median - empty.median) / _CALLS * 1e9:.0f}",
                str(_PARTS[name][1]),
                f"{(found.least - empty.least) / _CALLS * 1e9 * _PARTS[name][1]:.0f}",
            ]
            for name, found in seen.items()
        ],
    )


if __name__ == "__main__":
    main()
