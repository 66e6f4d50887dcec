"""The figures of one process, which it measures itself.

Names, units and attributes are those of the semantic conventions for processes and for CPython,
https://opentelemetry.io/docs/specs/semconv/system/process-metrics/ and
https://opentelemetry.io/docs/specs/semconv/runtime/cpython-metrics/, where these have them. What is
counted stays in the slot, and the next process in it goes on from there; what is of the moment goes
with the process. Gauges also where the conventions count up and down: they are last values.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from otelmon.ledger.instrument import Attributes, Instrument


class Figure(NamedTuple):
    """One series of a process."""

    instrument: Instrument
    attributes: Attributes = ()


# In microseconds: nanoseconds of some hundred busy processes would be too many in some years.
_MICRO: Final = 1e-6

CPU_TIME: Final = Instrument(
    "process.cpu.time",
    "counter",
    "s",
    "CPU time that the processes of this slot have used, by mode.",
    scale=_MICRO,
    merge="slot",
)
CPU_USAGE: Final = Instrument(
    "otelmon.process.cpu.usage", "gauge", "{cpu}", "CPUs in use since the measurement before."
)
RESIDENT: Final = Instrument(
    "process.memory.usage", "gauge", "By", "Resident memory: what of its memory is in RAM."
)
VIRTUAL: Final = Instrument("process.memory.virtual", "gauge", "By", "Virtual memory.")
PROPORTIONAL: Final = Instrument(
    "otelmon.process.memory.proportional",
    "gauge",
    "By",
    "Resident memory, of which pages that n processes share count an nth.",
)
FILES: Final = Instrument(
    "process.unix.file_descriptor.count", "gauge", "{file_descriptor}", "Open file descriptors."
)
FILES_LIMIT: Final = Instrument(
    "otelmon.process.file_descriptor.limit",
    "gauge",
    "{file_descriptor}",
    "File descriptors that may be open.",
)
THREADS: Final = Instrument("process.thread.count", "gauge", "{thread}", "Threads.")
STARTED: Final = Instrument(
    "otelmon.process.start_time", "gauge", "s", "When the process was started, in Unix time."
)
UPTIME: Final = Instrument("process.uptime", "gauge", "s", "Time since the process was started.")
COLLECTIONS: Final = Instrument(
    "cpython.gc.collections",
    "counter",
    "{collection}",
    "Runs of the garbage collector, by generation.",
    merge="slot",
)
PAUSE: Final = Instrument(
    "otelmon.gc.pause",
    "counter",
    "s",
    "Time for which the garbage collector held up the program, by generation.",
    scale=_MICRO,
    merge="slot",
)

ALL: Final = (
    *(CPU_TIME, CPU_USAGE, RESIDENT, VIRTUAL, PROPORTIONAL, FILES, FILES_LIMIT, THREADS),
    *(STARTED, UPTIME, COLLECTIONS, PAUSE),
)

MODE: Final = "cpu.mode"
USER: Final = Figure(CPU_TIME, ((MODE, "user"),))
SYSTEM: Final = Figure(CPU_TIME, ((MODE, "system"),))
GENERATION: Final = "cpython.gc.generation"


def of_generation(instrument: Instrument, generation: int) -> Figure:
    """Return the series of one generation of the garbage collector."""
    return Figure(instrument, ((GENERATION, generation),))
