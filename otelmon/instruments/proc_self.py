"""What the system says of this very process: CPU time, memory, threads, open files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelmon import threads
from otelmon.errors import OtelmonError
from otelmon.instruments.process import (
    CPU_USAGE,
    FILES,
    FILES_LIMIT,
    PROPORTIONAL,
    RESIDENT,
    STARTED,
    SYSTEM,
    THREADS,
    UPTIME,
    USER,
    VIRTUAL,
    Figure,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Values = Mapping[Figure, float | None]


PROC: Final = Path("/proc")


class CpuTime:
    """CPU time since the process was started, to 10 ms, and how much of one CPU that is now."""

    kind: Final = "process_cpu"

    def __init__(
        self,
        *,
        times: Callable[[], Sequence[float]] = os.times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask *times* for seconds in user and in system mode, first of all."""
        self._times = times
        self._clock = clock
        self._before: tuple[float, float] | None = None

    def read(self) -> Values:
        """Return both modes' time, and the use since the reading before."""
        user, system = self._times()[:2]
        now, spent = self._clock(), user + system
        before, self._before = self._before, (now, spent)
        usage = None
        if before is not None and now > before[0]:
            usage = max(0.0, spent - before[1]) / (now - before[0])
        return {USER: user, SYSTEM: system, Figure(CPU_USAGE): usage}

    def forget(self) -> None:
        """Be as new in a forked child, whose CPU time begins at zero."""
        self._before = None

    def close(self) -> None:
        """Have nothing to give back."""


class Status:
    """Memory, threads and age by two short files of /proc, which cost some microseconds each."""

    kind: Final = "process_status"

    def __init__(
        self,
        *,
        proc: Path = PROC,
        clock: Callable[[], int] = time.time_ns,
        since_boot: Callable[[], float] | None = None,
    ) -> None:
        """Read below *proc*; *since_boot* tells the seconds since then, *clock* the Unix time in ns."""
        self._self = proc / "self"
        self._clock = clock
        self._since_boot = since_boot or _since_boot
        self._started: float | None = None

    def read(self) -> Values:
        """Return what is known.

        Raises:
            OSError: there are no such files.
            OtelmonError, ValueError: there is something else in them.
        """
        virtual, resident = (self._self / "statm").read_bytes().split()[:2]
        # "4711 (any (name)) S 1 ...": the name may hold anything.
        said = (self._self / "stat").read_bytes().rpartition(b")")[2].split()
        if len(said) < 22:
            raise OtelmonError(f"{self._self / 'stat'} is expected to have 24 fields or more.")
        age = max(0.0, self._since_boot() - int(said[19]) / os.sysconf("SC_CLK_TCK"))
        if self._started is None:
            # Once: it would move with every correction of the clock.
            self._started = self._clock() / 1e9 - age
        page = os.sysconf("SC_PAGE_SIZE")
        return {
            Figure(RESIDENT): int(resident) * page,
            Figure(VIRTUAL): int(virtual) * page,
            Figure(THREADS): int(said[17]),
            Figure(STARTED): self._started,
            Figure(UPTIME): age,
        }

    def forget(self) -> None:
        """Be as new in a forked child, which has another age."""
        self._started = None

    def close(self) -> None:
        """Have nothing to give back."""


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Files:
    """Open file descriptors, and how many may be."""

    kind: Final = "process_files"

    def __init__(self, *, proc: Path = PROC, limit: Callable[[], int | None] | None = None) -> None:
        """Read below *proc*; *limit* tells how many there may be, None for any number."""
        self._fd = proc / "self/fd"
        self._limit = limit or _files_limit

    def read(self) -> Values:
        """Return both.

        Raises:
            OSError: there is no such directory.
        """
        # From Linux 6.2 on the directory's size is their number, for which nothing is walked
        # through. Before that it is 0, and they are counted, the one that counts left out.
        count = self._fd.stat().st_size or len(os.listdir(self._fd)) - 1  # noqa: PTH208 - names, no paths
        return {Figure(FILES): count, Figure(FILES_LIMIT): self._limit()}

    def forget(self) -> None:
        """Be as new in a forked child."""

    def close(self) -> None:
        """Have nothing to give back."""


def _files_limit() -> int | None:
    import resource  # Windows has none

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


class Proportional:
    """Memory with its share of what is shared: all pages are walked through, so it is asked seldom."""

    kind: Final = "process_pss"
    SECONDS: Final = 60.0
    # It waits for whoever changes the map of the memory, and the beat must not.
    _PATIENCE: Final = 2.0

    def __init__(self, *, proc: Path = PROC, clock: Callable[[], float] = time.monotonic) -> None:
        """Read below *proc*, once a minute by *clock*."""
        self._rollup = proc / "self/smaps_rollup"
        self._clock = clock
        self._read_at: float | None = None
        self._known: float | None = None
        self._looking = threads.Errand(self._look)

    def read(self) -> Values:
        """Return what the last look found.

        Raises:
            OSError: there is no such file.
            ValueError: there is something else in it.
            TimeoutError: it has not answered yet.
        """
        if self._read_at is None or self._clock() - self._read_at >= self.SECONDS:
            self._read_at, self._known = self._clock(), None
            self._known = self._looking.run(self._PATIENCE)
        return {Figure(PROPORTIONAL): self._known}

    def _look(self) -> float:
        for line in self._rollup.read_bytes().splitlines():
            name, _, amount = line.partition(b":")
            if name == b"Pss":
                return int(amount.split()[0]) * 1024
        raise ValueError(f"{self._rollup} has no line for Pss.")

    def forget(self) -> None:
        """Be as new in a forked child."""
        self._read_at = self._known = None
        self._looking = threads.Errand(self._look)

    def close(self) -> None:
        """Have nothing to give back."""
