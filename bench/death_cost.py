"""What is left of processes that have died: the scrape's time and the files, after many kill -9."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from bench.interleaved import cost, in_turn
from bench.scraping import (
    Contender,
    Otelmon,
    PrometheusClient,
    files,
    record,
    recycle,
    scrape,
    shared_directory,
)
from bench.tables import show, size
from tests.forks import Child


if TYPE_CHECKING:
    from bench.scraping import Scrape


class Case(NamedTuple):
    """A library of whose processes so many have died."""

    name: str
    contender: type[Contender]
    deaths: int


_CASES = (
    Case("otelmon", Otelmon, 0),
    Case("otelmon", Otelmon, 10_000),
    Case("prometheus_client, multiprocess", PrometheusClient, 0),
    Case("prometheus_client, multiprocess", PrometheusClient, 50),
)
_WORKERS = 8
_SETS = range(200)
_ROUNDS = 20
# So many die at a time, each for so long until the next ones are forked.
_PARENTS = 2
_PORTION_SECONDS = 5.0
_SECONDS = 60.0


class Instance:
    """Eight processes: one that answers, and seven that are killed and replaced, some very often."""

    def __init__(self, case: Case, stack: ExitStack) -> None:
        """Let them die."""
        self._place = stack.enter_context(shared_directory())
        self._name, self._contender, _ = case
        self._stack = stack
        self._answering = self._child()
        self._answering.call(record, _SETS)
        others = self._others()
        self.deaths = 0
        if case.deaths:
            for child in others:
                child.kill()
            self.deaths = len(others) + self._recycle(case.deaths - len(others))
            self._others()
        truth = (_WORKERS + self.deaths) * len(_SETS)
        assert self.scrape().observations == truth

    def _child(self) -> Child[Contender]:
        return self._stack.enter_context(Child(lambda: self._contender(self._place)))

    def _others(self) -> list[Child[Contender]]:
        children = [self._child() for _ in range(_WORKERS - 1)]
        for child in children:
            child.call(record, _SETS)
        return children

    def _recycle(self, times: int) -> int:
        """Have *times* processes die, fewer if that takes too long; return how many did."""
        parents = [self._child() for _ in range(_PARENTS)]
        left, deadline = times, time.monotonic() + _SECONDS
        while left and time.monotonic() < deadline:
            shares = [left // 2, left - left // 2]
            for parent, share in zip(parents, shares, strict=True):
                parent.send(recycle, _SETS, share, _PORTION_SECONDS)
            left -= sum(parent.answer() for parent in parents)
        return times - left

    def scrape(self) -> Scrape:
        """Have the oldest process answer."""
        return self._answering.call(scrape)

    def seconds(self) -> float:
        """Return what an answer costs."""
        return self.scrape().seconds

    def row(self, seen: list[float]) -> list[str]:
        """Return the case and its costs."""
        found, (count, taken) = cost(seen), files(self._place)
        return [
            *(self._name, f"{self.deaths:,}"),
            *(f"{seconds * 1e3:.1f}" for seconds in found),
            *(size(self.scrape().size), str(count), size(taken)),
        ]


def main() -> None:
    """Print the costs of a scrape."""
    with ExitStack() as stack:
        instances = {str(case): Instance(case, stack) for case in _CASES}
        seen = in_turn(
            {name: each.seconds for name, each in instances.items()}, rounds=_ROUNDS, seconds=30
        )
        show(
            f"A scrape of {_WORKERS} live workers with {len(_SETS)} histogram sets, CPU time",
            ["case", "killed", "min (ms)", "median (ms)", "text", "files", "bytes of files"],
            [each.row(seen[name]) for name, each in instances.items()],
        )


if __name__ == "__main__":
    main()
