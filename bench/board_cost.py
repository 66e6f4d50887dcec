"""What the board costs who reads it, and what its past costs the keeper and the reader."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bench.interleaved import cost, cpu, in_turn
from bench.scraping import route
from bench.tables import show
from otelmon import board
from otelmon.ledger import layout, ring
from otelmon.metrics import windows
from otelmon.metrics.history import columns
from otelmon.metrics.past import Past
from otelmon.metrics.remembered import remember
from otelmon.metrics.seen import Seen
from otelmon.recommendations import advice
from otelmon.recommendations.advisor import Advisor
from otelmon.settings import Settings
from tests.sources import SECOND, Counts, published


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading


_ROUTES: Final = (10, 100, 500)
_STATUSES: Final = (200, 404, 500)
_INTERVAL: Final = 10
_ROUNDS: Final = 30
# An hour, as the keeper has it.
_PUBLICATIONS: Final = 3600 // _INTERVAL
# One round of requests comes for so many of them.
_PAUSE: Final = 18


class Instance:
    """A ledger after an hour of traffic on many routes, each with three statuses."""

    def __init__(self, routes: int) -> None:
        """Publish for an hour."""
        self.counts = Counts()
        segment = self.counts.ledger.segment
        assert segment is not None
        self.segment, self.seen = segment, Seen()
        self.now = SECOND
        draw = random.Random(routes)
        for number in range(_PUBLICATIONS):
            if number % _PAUSE == 0:
                self.serve(routes, draw)
            self.publish()
        self.serve(routes, draw)
        self.publish()

    def serve(self, routes: int, draw: random.Random) -> None:
        """Answer a request of each kind."""
        for number in range(routes):
            for status in _STATUSES:
                error = str(status) if status == _STATUSES[-1] else None
                took = int(draw.lognormvariate(17, 1.5))
                self.counts.request(route(number), status=status, error=error, took=took)

    def publish(self) -> None:
        """Be the keeper, once."""
        reading, said = self.moment()
        self.now = reading.monotonic
        remember(self.segment, reading, said)
        board.publish(self.segment, said)

    def moment(self) -> tuple[Reading, Published]:
        """Return what the next publication is about."""
        now = self.now + _INTERVAL * SECOND
        reading = replace(self.counts.read(), monotonic=now)
        points = tuple(
            board.Point(now - (7 - number) * _INTERVAL * SECOND, number, 0, 0)
            for number in range(8)
        )
        return reading, published(monotonic=now, points=points)

    def parsed(self) -> float:
        """Read the board as who has not seen it."""
        return cpu(lambda: board.read(self.segment), calls=20)

    def cached(self) -> float:
        """Read it as who has."""
        return cpu(lambda: self.seen.published(self.segment), calls=1000)

    def remembered(self) -> float:
        """Keep snapshot and point, which is all that the keeper does for them."""
        reading, said = self.moment()
        return cpu(lambda: remember(self.segment, reading, said), calls=1)

    def worked_out(self) -> float:
        """Work out windows and routes, which a process does once for each publication."""
        reading, said = self.moment()
        past = Past(self.segment, board.newest(self.segment))
        return cpu(lambda: windows.shown(past, reading, said), calls=1)

    def columns(self) -> float:
        """Read the history and make columns of it."""
        past = Past(self.segment, board.newest(self.segment))
        return cpu(lambda: columns(past.points, interval=_INTERVAL), calls=1)

    def advised(self) -> float:
        """Look at everything and publish what is recommended."""
        reading, said = self.moment()
        advisor = Advisor(Settings(), server=lambda: None, checks=lambda: 0)
        return cpu(lambda: advisor.tick(self.segment, reading, said), calls=1)

    def advice(self) -> float:
        """Read what is recommended, as a request does."""
        return cpu(lambda: advice.read(self.segment), calls=20)

    @property
    def bytes(self) -> int:
        """Return what of the file the past takes, without the rest of its last pages."""
        return sum(
            len(each.payload) for where in layout.RINGS for each in ring.read(self.segment, where)
        )


_CASES: Final[dict[str, tuple[Callable[[Instance], float], str]]] = {
    "the board, parsed": (Instance.parsed, "us"),
    "the board, seen before": (Instance.cached, "us"),
    "the keeper's snapshot and point": (Instance.remembered, "ms"),
    "windows and routes, once per publication": (Instance.worked_out, "ms"),
    "the whole history": (Instance.columns, "ms"),
    "recommendations, twice a minute": (Instance.advised, "ms"),
    "recommendations, as a request reads them": (Instance.advice, "us"),
}


def main() -> None:
    """Print the costs."""
    instances = {routes: Instance(routes) for routes in _ROUTES}
    seen = in_turn(
        {
            f"{name} {routes}": lambda measure=measure, one=one: measure(one)  # type: ignore[misc]
            for name, (measure, _) in _CASES.items()
            for routes, one in instances.items()
        },
        rounds=_ROUNDS,
    )
    rows = [
        [
            f"{name} ({unit})",
            *(
                f"{figure / (1e3 if unit == 'us' else 1e6):.2f}"
                for routes in _ROUTES
                for figure in cost(seen[f"{name} {routes}"])
            ),
        ]
        for name, (_, unit) in _CASES.items()
    ]
    sizes = [f"{one.bytes / 1e3:.0f}" for one in instances.values()]
    rows.append(["kept in the file (kB)", *(cell for size in sizes for cell in (size, ""))])
    show(
        "CPU time by the number of routes, each with three statuses, after an hour",
        ["what", *(f"{routes:,}, {of}" for routes in _ROUTES for of in ("min", "median"))],
        rows,
    )


if __name__ == "__main__":
    main()
