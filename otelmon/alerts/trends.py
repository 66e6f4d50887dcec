"""Where disk and workers' memory are heading: robust slopes over the last hour, once a minute.

The slope is the median of those between all pairs of points, so that what lies far off does not
move it. The workers' memory is kept in a ring of the ledger's file, that another keeper goes on with it.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon import faults
from otelmon.ledger import layout, ring
from otelmon.ledger.ring import Record
from otelmon.loading import apart_from_forks
from otelmon.metrics.history import SERIES
from otelmon.metrics.slope import theil_sen


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from otelmon.board import Number
    from otelmon.ledger.reader import Reading, Worker
    from otelmon.ledger.segment import Segment
    from otelmon.metrics.history import Point


FAR_HOURS: Final = 8760.0
"""A year: what is said of a disk that does not fill, or not in any time that matters"""

_EVERY_NS: Final = 60_000_000_000
_HOUR_NS: Final = 3_600_000_000_000
_SECOND: Final = 1_000_000_000
_DISK_SECONDS: Final = 900.0
_WORKER_SECONDS: Final = 1800.0
_MOST_POINTS: Final = 60
# Less than this share an hour is no growth, however large the worker is.
_LEAST_SHARE: Final = 0.02
_MB: Final = 1_000_000

Line = list[tuple[float, float]]
"""Points of seconds and an amount"""


class Trend(NamedTuple):
    """What is known of both; None where there is too little to tell."""

    disk_full_hours: float | None = None
    worker_growth: float | None = None


class Trends:
    """Looks at the ring once a minute; for one thread of one process."""

    def __init__(self, resident: Callable[[Reading], Mapping[int, int]]) -> None:
        """Ask *resident* for the workers' memory, in bytes by their process ids."""
        self._resident = resident
        self._at: int | None = None
        self._last = Trend()

    def now(
        self,
        segment: Segment,
        reading: Reading,
        host: Mapping[str, Number],
        points: Callable[[], Sequence[Point]],
    ) -> Trend:
        """Return the trends, at the most a minute old; *points* gives the history.

        What fails is reported, and not known for a minute.
        """
        now = reading.monotonic
        if self._at is not None and now - self._at < _EVERY_NS:
            return self._last
        self._at, self._last = now, Trend()
        try:
            keep(segment, reading, self._resident(reading))
            self._last = Trend(
                disk_full_hours(disk_line(points()), host.get("disk_free")),
                worker_growth(lines(segment, reading)),
            )
        except Exception as error:  # noqa: BLE001 - the other figures are worth judging
            faults.report("trends", error)
        return self._last


# -- disk -----------------------------------------------------------------------------------------


def disk_line(points: Sequence[Point]) -> Line:
    """Return the used bytes of the disk at so many points of the history as there is time for."""
    at = list(SERIES).index("disk_used")
    known = [
        (point.monotonic / _SECOND, point.values[at])
        for point in points[:: max(1, len(points) // _MOST_POINTS)]
    ]
    return [(seconds, used) for seconds, used in known if used is not None]


def disk_full_hours(line: Line, free: float | None) -> float | None:
    """Return hours until *free* bytes are used up, a year at the most; None without a quarter hour."""
    if free is None or len(line) < 3 or line[-1][0] - line[0][0] < _DISK_SECONDS:
        return None
    slope = theil_sen(line)
    if slope is None or slope <= 0:
        return FAR_HOURS
    return min(FAR_HOURS, free / slope / 3600)


# -- workers --------------------------------------------------------------------------------------


def keep(segment: Segment, reading: Reading, resident: Mapping[int, int]) -> None:
    """Remember how much memory each worker holds; only the keeper may."""
    numbers = array("Q")
    for worker in reading.workers:
        if worker.pid in resident:
            numbers.extend((*_who(worker), resident[worker.pid]))
    where, now = layout.RESIDENT, reading.monotonic
    known = ring.stamps(segment, where)
    if known and now - max(at for _, at, _ in known) < _EVERY_NS * 0.9:
        return  # by the keeper before this one
    number = max((each for each, _, _ in known), default=0) + 1
    payload = numbers[: ring.room(where) // numbers.itemsize // 3 * 3].tobytes()
    ring.write(segment, where, Record(number, now, payload), places=where.places)


def _who(worker: Worker) -> tuple[int, int]:
    """Return what tells a worker from another one that got its process id."""
    return worker.pid, round(worker.claimed * 1e3)


def lines(segment: Segment, reading: Reading) -> list[Line]:
    """Return the memory of each live worker over the last hour."""
    live = {_who(worker) for worker in reading.workers}
    found = defaultdict[tuple[int, int], Line](list)
    for record in ring.read(segment, layout.RESIDENT):
        numbers = array("Q")
        numbers.frombytes(record.payload)
        for at in range(0, len(numbers), 3):
            who = (numbers[at], numbers[at + 1])
            if who in live and reading.monotonic - record.monotonic <= _HOUR_NS:
                found[who].append((record.monotonic / _SECOND, float(numbers[at + 2])))
    return list(found.values())


def worker_growth(known: Sequence[Line]) -> float | None:
    """Return the MB an hour by which at least half of the workers grow; None if all are young."""
    growths = [_growth(line) for line in known]
    old = [each for each in growths if each is not None]
    if not old:
        return None
    # Here, because only the keeper is to pay for the import.
    with apart_from_forks():
        from statistics import median_low

    # The lower one of two in the middle: so many or more grow by half of them.
    return median_low(old)


def _growth(line: Line) -> float | None:
    if len(line) < 3 or line[-1][0] - line[0][0] < _WORKER_SECONDS:
        return None
    slope = theil_sen(line)
    if slope is None:
        return None
    an_hour = slope * 3600
    return an_hour / _MB if an_hour > _LEAST_SHARE * line[0][1] else 0.0
