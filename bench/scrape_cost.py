"""What a scrape costs the process that answers it, by workers and by histogram sets."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from bench.interleaved import cost, in_turn
from bench.scraping import (
    Contender,
    OpenTelemetry,
    Otelmon,
    PrometheusClient,
    record,
    scrape,
    shared_directory,
)
from bench.tables import show, size
from tests.forks import Child


if TYPE_CHECKING:
    from bench.scraping import Scrape


class Case(NamedTuple):
    """A library with so many processes, each of which counts so many sets."""

    name: str
    contender: type[Contender]
    workers: int
    sets: int


_MULTIPROCESS = "prometheus_client, multiprocess"
_CASES = (
    Case("otelmon", Otelmon, 1, 1000),
    Case("otelmon", Otelmon, 8, 1000),
    Case("otelmon", Otelmon, 64, 1000),
    Case(_MULTIPROCESS, PrometheusClient, 8, 1000),
    Case("opentelemetry-exporter-prometheus", OpenTelemetry, 1, 1000),
    Case("otelmon", Otelmon, 1, 10_000),
    Case("otelmon", Otelmon, 8, 10_000),
    Case("otelmon", Otelmon, 64, 10_000),
)
# One answer takes many seconds.
_ONCE = Case(_MULTIPROCESS, PrometheusClient, 8, 10_000)
_ROUNDS = 20
_SECONDS = 30.0
# A case is left out if those before it took so long; the dearest come last.
_LATEST_START = 70.0
# How many sets a process records before it is asked for more, so that each answer comes soon.
_PORTION = 1000


class Instance:
    """The processes of a case, all of which have recorded and live on until *stack* ends."""

    def __init__(self, case: Case, stack: ExitStack) -> None:
        """Fork them, and have one answer a first scrape."""
        place = stack.enter_context(shared_directory())
        self.case = case
        self._children = [
            stack.enter_context(Child(lambda: case.contender(place))) for _ in range(case.workers)
        ]
        for child in self._children:
            child.call(record, range(0))
        for first in range(0, case.sets, _PORTION):
            sets = range(first, min(first + _PORTION, case.sets))
            # One alone meets all sets first: who has to wait too long to make a set makes none.
            self._children[0].call(record, sets)
            for child in self._children[1:]:
                child.send(record, sets)
            for child in self._children[1:]:
                child.answer()
        self.first = self.scrape()
        told = (self.first.sets, self.first.observations)
        assert told == (case.sets, case.workers * case.sets), (case, told)

    def scrape(self) -> Scrape:
        """Have one of the processes answer."""
        return self._children[0].call(scrape)

    def seconds(self) -> float:
        """Return what an answer costs."""
        return self.scrape().seconds

    def row(self, seen: list[float]) -> list[str]:
        """Return the case and its costs."""
        found, (name, _, workers, sets) = cost(seen), self.case
        figures = (self.first.seconds, found.least, found.median)
        return [
            *(name, str(workers), f"{sets:,}"),
            *(f"{seconds * 1e3:.1f}" for seconds in figures),
            size(self.first.size),
        ]


def started(case: Case, stack: ExitStack, began: float) -> Instance | None:
    """Return the instance of a case; None if it is too late to begin with it."""
    if time.monotonic() - began > _LATEST_START:
        print(
            f"\nLeft out, because this machine is busy: {case.name}, {case.workers} workers, "
            f"{case.sets:,} sets."
        )
        return None
    return Instance(case, stack)


def main() -> None:
    """Print the costs of a scrape."""
    began = time.monotonic()
    with ExitStack() as stack:
        found = {str(case): started(case, stack, began) for case in _CASES}
        instances = {name: each for name, each in found.items() if each is not None}
        seen = in_turn(
            {name: each.seconds for name, each in instances.items()},
            rounds=_ROUNDS,
            seconds=_SECONDS,
        )
        rows = [each.row(seen[name]) for name, each in instances.items()]
    with ExitStack() as stack:
        once = started(_ONCE, stack, began)
        if once is not None:
            rows.append(once.row([once.first.seconds]))
    show(
        "A scrape without HTTP, CPU time of the process that answers",
        ["case", "workers", "sets", "first (ms)", "min (ms)", "median (ms)", "text"],
        rows,
    )


if __name__ == "__main__":
    main()
