"""What a round of the keeper costs: the host alone, with the control groups, and to its end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.crowd import crowd
from bench.interleaved import measure
from bench.tables import show
from otelmon import faults
from otelmon.alerts.watch import Watch
from otelmon.checks.registry import Registry
from otelmon.checks.rounds import Rounds
from otelmon.instruments.cpu import Cpu
from otelmon.instruments.disk import Disk
from otelmon.instruments.disk_io import DiskIo
from otelmon.instruments.load import Load
from otelmon.instruments.memory import Memory
from otelmon.instruments.network import Network
from otelmon.instruments.processes import Processes
from otelmon.keeper import Keeper
from otelmon.ledger.ledger import Ledger
from otelmon.metrics.host import HostMeter
from otelmon.metrics.otlp import Push
from otelmon.recommendations.advisor import Advisor
from otelmon.settings import Settings


if TYPE_CHECKING:
    from collections.abc import Callable


_CALLS = 20
_ROUNDS = 30
_HOST = "the host alone"
_PROCESSES = 500
_POINTS = 7


def _of_the_host() -> HostMeter:
    sources = (Memory, Disk, DiskIo, Network, Load, Processes)
    return HostMeter(Cpu(faults.report), [source(faults.report) for source in sources])


def _whole() -> Callable[[], object]:
    """Return a whole round of a keeper: measure, merge, remember, judge, publish."""
    ledger, settings = Ledger(), Settings()
    ledger.serve_alone()
    segment = ledger.segment
    assert segment is not None
    keeper = Keeper(
        ledger,
        settings,
        port=None,
        watch=Watch(settings),
        announce=lambda: None,
        draining=bool,
        descriptors=list,
        measure=lambda: None,
        observe=list,
        checks=Rounds(Registry(), settings),
        advisor=Advisor(settings, server=lambda: None, checks=int),
        push=Push(settings, lambda: None),
    )

    def round_() -> None:
        before = keeper._board.published(segment)  # noqa: SLF001 - as in a beat
        if before is not None:
            # As many as there are of the last minute at the interval that is the default.
            before = replace(before, points=before.points[-_POINTS:])
        keeper._publish(segment, before)  # noqa: SLF001 - a round, not a beat

    return round_


def main() -> None:
    """Print the CPU time of a round, in whatever groups this process is."""
    with crowd(_PROCESSES) as processes:
        _compare(processes)


def _compare(processes: int) -> None:
    cases: dict[str, Callable[[], object]] = {
        _HOST: _of_the_host().collect,
        "with its control groups and pressure": HostMeter.of_this_machine(faults.report).collect,
        "a whole round, of an instance without routes": _whole(),
    }
    found = measure(cases, calls=_CALLS, rounds=_ROUNDS)
    base = found[_HOST]
    show(
        f"One round of the keeper, {processes} processes on the machine",
        ["case", "min (ms)", "median (ms)", "times the host alone"],
        [
            [
                name,
                f"{cost.least / 1e6:.2f}",
                f"{cost.median / 1e6:.2f}",
                f"{cost.least / base.least:.1f}",
            ]
            for name, cost in found.items()
        ],
    )


if __name__ == "__main__":
    main()
