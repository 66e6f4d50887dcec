"""Reading the whole instance: all slots merged into one immutable answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from otelmon.ledger import layout
from otelmon.ledger.counted import by_slot
from otelmon.ledger.instrument import by_instrument
from otelmon.ledger.lanes import added, merged
from otelmon.ledger.requests import DURATION


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otelmon.ledger.counted import Counted
    from otelmon.ledger.instrument import Instrument, Series
    from otelmon.ledger.keys import Keys
    from otelmon.ledger.segment import Segment


_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that serves now, as its slot tells; times in seconds."""

    slot: int
    pid: int
    claimed: float  # Unix time
    beat_age: float
    capacity: int | None
    draining: bool
    started: int
    """By this process, not by those that had the slot before"""
    in_flight: int
    oldest_age: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the instance has counted up to one moment, all of its processes together.

    `lanes` are the merged counts; `Series.buckets` and `Series.total` pick out of them.
    """

    created: float  # Unix time; what is counted began then
    at: float  # Unix time
    monotonic: int  # ns
    workers: tuple[Worker, ...]
    series: tuple[Series, ...]
    apart: tuple[Series, ...]
    """Those of them whose figures are not added up over all processes"""
    lanes: list[int]
    sums: list[float]
    values: dict[int, dict[int, float]]
    """For each value lane, what each live slot says"""
    recent: dict[int, float]
    """For each series of `recent`, by its first lane of sums, what was said last"""
    slots: dict[int, dict[int, Counted]]
    """For each series that is counted by slot, by its first lane, what was counted in each"""
    resting: frozenset[int]
    """Numbers of series that are not shown: nothing was recorded to them since they made room"""
    begun: dict[int, int]
    """How many requests were started in each slot, by all processes that had it"""
    started: int
    finished: int
    lost: int
    worker_starts: int
    worker_deaths: int
    """Processes that have served and serve no longer"""
    shared: bool
    complete: bool
    """False while a process of the instance counts for itself, without a slot"""

    @property
    def in_flight(self) -> int:
        """Return how many requests are being served now."""
        return sum(worker.in_flight for worker in self.workers)


@dataclass(frozen=True, slots=True)
class _Slot:
    number: int
    head: list[int]
    counts: bytes
    sums: Sequence[float]
    values: Sequence[float]
    alive: bool
    """It has an owner that has begun to count"""
    owned: bool
    """What it has in flight is not lost"""

    @property
    def deaths(self) -> int:
        """Return how many of its owners are dead."""
        dead = self.head[layout.HEAD_DEATHS]
        return dead if self.owned else max(dead, self.head[layout.HEAD_GENERATION])


def read(segment: Segment, keys: Keys, *, own: int | None) -> Reading:
    """Merge all slots of *segment*; *own* is the slot that this process holds, if any."""
    slots = [
        _copy(segment, number, own=number == own)
        for number in range(min(segment.header[layout.HEADER_SLOTS_USED], layout.SLOTS))
    ]
    # After the slots, so that whatever stands in a copied lane has a name.
    known = keys.known()
    apart = keys.apart()
    lanes, done = merged([slot.counts for slot in slots], _bucket_mask(known))
    lanes += [0] * (layout.FIRST_LANE - len(lanes))
    now = time.monotonic_ns()
    unfinished = {
        slot.number: _unfinished(slot, finished) for slot, finished in zip(slots, done, strict=True)
    }
    live = [slot for slot in slots if slot.alive]
    sums, values = _sums(slots), _values(live, apart)
    resting = {
        number
        for number, weight in keys.resting().items()
        # Of one that was placed after the others were read nothing is shown yet.
        if number < len(known) and weight == weigh(known[number], lanes, sums, values)
    }
    return Reading(
        created=segment.created / 1e9,
        at=time.time_ns() / 1e9,
        monotonic=now,
        workers=tuple(_worker(slot, unfinished[slot.number], now) for slot in live),
        series=known,
        apart=tuple(apart),
        lanes=lanes,
        sums=sums,
        values=values,
        recent=_recent(slots, apart),
        slots=by_slot(((slot.number, slot.counts, slot.alive) for slot in slots), apart),
        resting=frozenset(resting),
        begun={slot.number: _started(slot) for slot in slots if slot.counts},
        started=lanes[layout.LANE_STARTED],
        finished=sum(done),
        lost=lanes[layout.LANE_LOST] + sum(unfinished[s.number] for s in slots if not s.owned),
        worker_starts=sum(slot.head[layout.HEAD_GENERATION] for slot in slots),
        worker_deaths=sum(slot.deaths for slot in slots),
        shared=segment.shared,
        complete=_complete(segment, now),
    )


def finished(counts: list[int], durations: Iterable[Series]) -> int:
    """Return how many requests a slot's *counts* say were finished."""
    return sum(sum(series.buckets(counts)) for series in durations)


def of_instrument(known: Sequence[Series], instrument: Instrument) -> Sequence[Series]:
    """Return the series of *instrument*."""
    return by_instrument(known).get(instrument, ())


def _bucket_mask(known: Sequence[Series]) -> bytes:
    """Return lanes that are all ones where a bucket of the duration is, and zero elsewhere."""
    size = (len(DURATION.bounds) + 1) * layout.WORD
    buckets = b"\xff" * size
    starts = [series.base * layout.WORD for series in of_instrument(known, DURATION)]
    mask = bytearray(max(starts, default=0) + size)
    for start in starts:
        mask[start : start + size] = buckets
    return bytes(mask)


def _copy(segment: Segment, number: int, *, own: bool) -> _Slot:
    """Copy a slot while it has one owner, or none: neither changes often."""
    before = _owner(segment, number, own=own)
    copied = _copy_now(segment, number, before)
    for _ in range(_TRIES):
        after = _owner(segment, number, own=own)
        if after == before:
            break
        before, copied = after, _copy_now(segment, number, after)
    return copied


def _owner(segment: Segment, number: int, *, own: bool) -> tuple[bool, int]:
    """Return whether a slot has an owner now, and how many it has had."""
    owned = own or segment.owned_by_another(number)
    return owned, segment.slot(number).head[layout.HEAD_GENERATION]


def _copy_now(segment: Segment, number: int, owner: tuple[bool, int]) -> _Slot:
    view = segment.slot(number)
    head = view.head[: layout.HEAD_WORDS].tolist()
    # After asking who lives: whatever a dead owner has counted lies before this lane.
    used = max(segment.header[layout.HEADER_NEXT_COUNT], layout.FIRST_LANE)
    counts = bytes(view.counts[: min(head[layout.HEAD_COUNTS], used, layout.COUNTS)])
    # Of the other kinds most slots have none, and no reader may pass what the owner has space for.
    sums = _floats(segment, view.sums, head[layout.HEAD_SUMS], layout.HEADER_NEXT_SUM)
    values = _floats(segment, view.values, head[layout.HEAD_VALUES], layout.HEADER_NEXT_VALUE)
    owned, generation = owner
    alive = owned and generation > head[layout.HEAD_DEATHS]
    return _Slot(number, head, counts, sums, values, alive, owned)


def _floats(
    segment: Segment, lanes: memoryview[float], taken: int, following: int
) -> Sequence[float]:
    return lanes[: min(taken, segment.header[following], len(lanes))].tolist()


def _unfinished(slot: _Slot, finished: int) -> int:
    """Return what a slot has started and neither finished nor lost, never less than nothing.

    The lanes were not copied at one moment, so a busy slot may seem to have finished more than it
    started.
    """
    if not slot.counts:
        return 0
    counts = memoryview(slot.counts).cast("Q")
    return max(0, counts[layout.LANE_STARTED] - counts[layout.LANE_LOST] - finished)


def _worker(slot: _Slot, in_flight: int, now: int) -> Worker:
    head = slot.head
    beat = head[layout.HEAD_BEAT]
    # A request that began after the last beat is at the most as old as that beat.
    oldest = (head[layout.HEAD_OLDEST] or beat) if in_flight else now
    return Worker(
        slot=slot.number,
        pid=head[layout.HEAD_PID],
        claimed=head[layout.HEAD_CLAIMED] / 1e9,
        beat_age=max(0.0, (now - beat) / 1e9),
        capacity=head[layout.HEAD_CAPACITY] or None,
        draining=bool(head[layout.HEAD_DRAINING]),
        started=max(0, _started(slot) - head[layout.HEAD_STARTED]),
        in_flight=in_flight,
        oldest_age=max(0.0, (now - oldest) / 1e9) if in_flight else None,
    )


def _started(slot: _Slot) -> int:
    if not slot.counts:
        return 0
    started: int = memoryview(slot.counts).cast("Q")[layout.LANE_STARTED]
    return started


def _sums(slots: list[_Slot]) -> list[float]:
    """Add up lane by lane, each rounded once: so a sum never falls while its parts grow."""
    columns = [slot.sums for slot in slots if slot.sums]
    if len(columns) < 2:
        return list(columns[0]) if columns else []
    return list(map(added, zip_longest(*columns, fillvalue=0.0)))


def _values(live: list[_Slot], apart: list[Series]) -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = {}
    for series in apart:
        base, width = series.base, series.instrument.values
        if width:
            found[base] = {
                slot.number: slot.values[base] + 0.0
                for slot in live
                if base + width <= len(slot.values) and layout.is_set(slot.values[base + width - 1])
            }
    return found


def together(
    series: Series, values: Mapping[int, Mapping[int, float]], recent: Mapping[int, float]
) -> float | None:
    """Return what the processes' figures of a series come to, None if none has said any.

    Of a series that is merged by worker, or that is added up, there is no such figure.
    """
    if series.instrument.merge == "recent":
        return recent.get(series.sums)
    fold, said = _FOLDS.get(series.instrument.merge), values.get(series.base)
    return fold(said.values()) if fold is not None and said else None


_FOLDS: Final[dict[str | None, Callable[[Iterable[float]], float]]] = {
    "sum": added,
    "min": min,
    "max": max,
}


def weigh(
    series: Series,
    lanes: list[int],
    sums: Sequence[float],
    values: Mapping[int, Mapping[int, float]],
) -> tuple[float, ...]:
    """Return what is in a series' lanes, in a few numbers; see `keys.Weight`."""
    instrument = series.instrument
    said = values.get(series.base, {}) if instrument.values else {}
    return (
        sum(lanes[series.base : series.base + instrument.counts]),
        *sums[series.sums : series.sums + instrument.sums],
        *said.values(),
    )


def _recent(slots: list[_Slot], apart: list[Series]) -> dict[int, float]:
    """Return what was said last; the moment stands behind the value."""
    found: dict[int, float] = {}
    for series in apart:
        at = series.sums
        said = [
            (slot.sums[at + 1], slot.sums[at])
            for slot in slots
            if series.instrument.sums and at + 1 < len(slot.sums) and slot.sums[at + 1]
        ]
        if said:
            found[at] = max(said)[1]
    return found


def _complete(segment: Segment, now: int) -> bool:
    beat = segment.header[layout.HEADER_PRIVATE_BEAT]
    return not beat or now - beat > PRIVATE_NS


PRIVATE_NS = 5_000_000_000
"""A process without a slot says so every second; after this long it is gone"""
