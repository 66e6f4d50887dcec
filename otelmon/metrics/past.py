"""What the keeper remembers beside the board: snapshots for the windows, and the history's points.

They lie in rings of the ledger's file. The keeper writes them just before it publishes, under the
number that the publication will have; readers look at nothing beyond the number that the board has.
So whatever a killed keeper had begun, the next one writes again, and nothing is there twice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.ledger import layout, ring
from otelmon.ledger.ring import Record
from otelmon.metrics import history, snapshots


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelmon.ledger.layout import Ring
    from otelmon.ledger.segment import Segment
    from otelmon.metrics.history import Point
    from otelmon.metrics.snapshots import Snapshot
    from otelmon.metrics.summary import Recent, Shown


RINGS: Final[Mapping[int, Ring]] = {
    60: layout.MINUTE,
    300: layout.FIVE_MINUTES,
    900: layout.QUARTER,
}
"""The windows in seconds, and where their snapshots lie"""
_SHORTEST: Final = 60
# A longer window has so many snapshots; so it is too long by a twelfth and an interval at the most.
_STEPS: Final = 12
# A young keeper publishes more often, and who takes over may too.
_SPARE: Final = 10
_SECOND: Final = 1_000_000_000


class Span(NamedTuple):
    """The two ends of a window."""

    before: Snapshot
    after: Snapshot

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        return (self.after.monotonic - self.before.monotonic) / _SECOND


class Memo:
    """What was worked out of the past, which holds on to no memory of the ledger."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.shown: Shown | None = None
        """See `windows.shown`"""
        self.recent: Recent | None = None
        """See `windows.recent`"""


class Past:
    """What is remembered up to one publication.

    Each part is read when it is asked for and not kept: with many routes, or at an interval of a
    second, that would be megabytes in each process.
    """

    def __init__(self, segment: Segment, number: int, memo: Memo | None = None) -> None:
        """Look at nothing yet."""
        self._segment = segment
        self.number = number
        self.memo = Memo() if memo is None else memo

    @property
    def points(self) -> Sequence[Point]:
        """Return the history, oldest first."""
        records = ring.read(self._segment, layout.HISTORY, upto=self.number)
        found = (history.decode(each.monotonic, each.payload) for each in records)
        return history.recent([point for point in found if point is not None])

    def records(self, where: Ring, upto: int) -> list[Record]:
        """Return what another ring holds, oldest first; it counts its records by itself."""
        return ring.read(self._segment, where, upto=upto)

    @property
    def newest(self) -> Snapshot | None:
        """Return the snapshot of the publication, or of the last one that has any."""
        known = (each for each in ring.stamps(self._segment, layout.MINUTE))
        upto = sorted((each for each in known if each[0] <= self.number), reverse=True)
        found = (_snapshot(self._segment, layout.MINUTE, place) for _, _, place in upto)
        return next((each for each in found if each is not None), None)

    @property
    def spans(self) -> Mapping[int, Span | None]:
        """Return the windows by their seconds; None where there are no two ends yet."""
        after = self.newest
        return {
            seconds: None if after is None else span(self._segment, after, seconds)
            for seconds in RINGS
        }


def span(segment: Segment, after: Snapshot, seconds: int) -> Span | None:
    """Return the window that ends with *after*.

    It begins with the newest snapshot that is so many seconds older; with the oldest while all are
    younger. Less than a second is none.
    """
    where = RINGS[seconds]
    stamps = sorted(
        ((at, place) for _, at, place in ring.stamps(segment, where) if at < after.monotonic),
        reverse=True,
    )
    wanted = after.monotonic - seconds * _SECOND
    old = [each for each in stamps if each[0] <= wanted]
    young = [each for each in stamps if each[0] > wanted]
    # What is spoilt is passed over, to the next older one, then to the oldest of the younger.
    for _, place in (*old, *reversed(young)):
        before = _snapshot(segment, where, place)
        if before is not None and before.monotonic < after.monotonic:
            found = Span(before, after)
            return found if found.seconds >= 1 else None
    return None


def keep_snapshot(segment: Segment, number: int, taken: Snapshot, interval: float) -> None:
    """Remember a snapshot in those rings that want one; only the keeper may.

    Raises:
        LedgerError, OSError: there is no space.
    """
    payload = snapshots.encode(taken, ring.room(layout.MINUTE))
    record = Record(number, taken.monotonic, payload)
    places = math.ceil(_SHORTEST / interval) + _SPARE
    ring.write(segment, RINGS[_SHORTEST], record, places=places)
    for seconds, where in RINGS.items():
        if seconds != _SHORTEST:
            _keep_seldom(segment, where, record, step=max(interval, seconds / _STEPS))


def keep_point(segment: Segment, number: int, point: Point) -> None:
    """Remember a point of the history; only the keeper may.

    Raises:
        LedgerError, OSError: there is no space.
    """
    record = Record(number, point.monotonic, history.encode(point))
    places = math.ceil(history.SECONDS / point.interval) + _SPARE
    ring.write(segment, layout.HISTORY, record, places=places)


def _keep_seldom(segment: Segment, where: Ring, record: Record, *, step: float) -> None:
    # Most times it is not due, which the stamps tell for less; of the others one may be spoilt.
    newest = max((at for _, at, _ in ring.stamps(segment, where)), default=None)
    if newest is not None and record.monotonic - newest < step * _SECOND:
        return
    known = ring.read(segment, where)
    number = known[-1].number + 1 if known else 1
    ring.write(segment, where, record._replace(number=number), places=where.places)


def _snapshot(segment: Segment, where: Ring, place: int) -> Snapshot | None:
    record = ring.record(segment, where, place)
    return None if record is None else snapshots.decode(record.monotonic, record.payload)
