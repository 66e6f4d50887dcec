"""What each process says of itself, as `/api/metrics` shows it. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otelmon.instruments import process
from otelmon.instruments.process import Figure, of_generation
from otelmon.metrics.figures import rounded


if TYPE_CHECKING:
    from otelmon.ledger.reader import Reading


_WHOLE: Final = {
    "memory_rss": Figure(process.RESIDENT),
    "memory_pss": Figure(process.PROPORTIONAL),
    "memory_virtual": Figure(process.VIRTUAL),
    "open_fds": Figure(process.FILES),
    "max_fds": Figure(process.FILES_LIMIT),
    "threads": Figure(process.THREADS),
}
_GENERATIONS: Final = range(3)
_NAMES: Final = frozenset(instrument.name for instrument in process.ALL)


def by_slot(reading: Reading) -> dict[int, dict[str, Any]]:
    """Return the figures of each live process by its slot; None where one is not known.

    Memory in bytes, CPU time since the process began, `cpu_percent` of one CPU, the collector's runs
    and pauses since the process came to serve.
    """
    known = _Known(reading)
    return {worker.slot: _shown(known, worker.slot) for worker in reading.workers}


def resident(reading: Reading) -> dict[int, int]:
    """Return the resident memory in bytes that each live process has told, by its process id."""
    known = _Known(reading)
    told = ((each.pid, known.said(Figure(process.RESIDENT), each.slot)) for each in reading.workers)
    return {pid: int(size) for pid, size in told if size is not None}


class _Known:
    """Looks figures up in a reading."""

    def __init__(self, reading: Reading) -> None:
        self._values, self._slots = reading.values, reading.slots
        self._base = {
            Figure(series.instrument, series.attributes): series.base
            for series in reading.apart
            if series.instrument.name in _NAMES
        }

    def said(self, figure: Figure, slot: int) -> float | None:
        """Return a figure of the moment."""
        base = self._base.get(figure)
        return None if base is None else self._values.get(base, {}).get(slot)

    def counted(self, figure: Figure, slot: int) -> int | None:
        """Return what the slot's process has counted, in the instrument's scale."""
        base = self._base.get(figure)
        found = None if base is None else self._slots.get(base, {}).get(slot)
        return None if found is None else found.own


def _shown(known: _Known, slot: int) -> dict[str, Any]:
    user, system = known.counted(process.USER, slot), known.counted(process.SYSTEM, slot)
    usage = known.said(Figure(process.CPU_USAGE), slot)
    whole = {name: known.said(figure, slot) for name, figure in _WHOLE.items()}
    return {
        # It has none for a moment only: until it is first measured.
        "cpu_seconds": _seconds((user or 0) + (system or 0) or None),
        "cpu_percent": None if usage is None else rounded(100 * usage),
        **{name: None if value is None else int(value) for name, value in whole.items()},
        "gc": {
            str(generation): {
                "collections": known.counted(of_generation(process.COLLECTIONS, generation), slot),
                "pause_seconds": _seconds(
                    known.counted(of_generation(process.PAUSE, generation), slot)
                ),
            }
            for generation in _GENERATIONS
        },
    }


def _seconds(micro: int | None) -> float | None:
    return None if micro is None else micro / 1e6
