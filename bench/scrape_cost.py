"""What a scrape costs the process that answers it, by workers and by histogram sets."""

from __future__ import annotations

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
    *(Case("otelmon", Otelmon, workers, sets) for sets in (1000, 10_000) for workers in (1, 8, 64)),
    Case(_MULTIPROCESS, PrometheusClient, 8, 1000),
    Case("opentelemetry-exporter-prometheus", OpenTelemetry, 1, 1000),
)
# It takes many seconds.
_ONCE = Case(_MULTIPROCESS, PrometheusClient, 8, 10_000)
_ROUNDS = 20
_SECONDS = 60.0
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
        for first in range(0, case.sets, _PORTION):
            sets = range(first, min(first + _PORTION, case.sets))
            # One alone meets all sets first: who has to wait too long to make a set makes none.
            self._children[0].call(record, sets)
            for child in self._children[1:]:
                child.send(record, sets)
            for child in self._children[1:]:
                child.answer()
        self.first = self.scrape()
        assert self.first.sets == case.sets
        assert self.first.observations == case.workers * case.sets

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


def main() -> None:
    """Print the costs of a scrape."""
    with ExitStack() as stack:
        instances = {str(case): Instance(case, stack) for case in _CASES}
        seen = in_turn(
            {name: each.seconds for name, each in instances.items()},
            rounds=_ROUNDS,
            seconds=_SECONDS,
        )
        rows = [each.row(seen[name]) for name, each in instances.items()]
    with ExitStack() as stack:
        once = Instance(_ONCE, stack)
        rows.append(once.row([once.first.seconds]))
    show(
        "A scrape without HTTP, CPU time of the process that answers",
        ["case", "workers", "sets", "first (ms)", "min (ms)", "median (ms)", "text"],
        rows,
    )


if __name__ == "__main__":
    main()
