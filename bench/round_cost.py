"""What one round of the keeper's measuring costs: the host alone, and with the control groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.interleaved import measure
from bench.tables import show
from otelmon import faults
from otelmon.instruments.cpu import Cpu
from otelmon.instruments.disk import Disk
from otelmon.instruments.disk_io import DiskIo
from otelmon.instruments.load import Load
from otelmon.instruments.memory import Memory
from otelmon.instruments.network import Network
from otelmon.instruments.processes import Processes
from otelmon.metrics.host import HostMeter


if TYPE_CHECKING:
    from collections.abc import Callable


_CALLS = 50
_ROUNDS = 30
_HOST = "the host alone"


def _of_the_host() -> HostMeter:
    sources = (Memory, Disk, DiskIo, Network, Load, Processes)
    return HostMeter(Cpu(faults.report), [source(faults.report) for source in sources])


def main() -> None:
    """Print the CPU time of a round, in whatever groups this process is."""
    cases: dict[str, Callable[[], object]] = {
        _HOST: _of_the_host().collect,
        "with its control groups and pressure": HostMeter.of_this_machine(faults.report).collect,
    }
    found = measure(cases, calls=_CALLS, rounds=_ROUNDS)
    base = found[_HOST]
    show(
        "One round of the keeper's measuring",
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
