"""What a process has recorded, moved from one memory to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon.ledger import layout
from otelmon.ledger.segment import Segment


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from otelmon.ledger.hold import Hold
    from otelmon.ledger.instrument import Instrument, Series
    from otelmon.ledger.pen import Pen, Taken


class Early:
    """What a process records before it serves: in memory of its own, handed over once it serves.

    A forked child begins with what its parent was, the gauges, and with nothing of what its parent
    did: that is the parent's, and lost if the parent never serves, as an arbiter.
    """

    def __init__(self, claim: Callable[[Segment], Hold]) -> None:
        """Take no memory before something is recorded; *claim* takes a slot of it."""
        self._claim = claim
        self._hold: Hold | None = None
        self._inherited: Hold | None = None
        self._records = 0
        self.dropped = 0
        """Records of the processes that this one descends from, which are not counted anywhere"""

    def hold(self) -> Hold:
        """Return where to record; to be asked for each record."""
        self._records += 1
        if self._hold is None:
            made = self._claim(Segment())
            # Another thread, or a handler that interrupted this one, may have made one meanwhile:
            # it is looked for and stored without a call, so between these nobody can come.
            self._hold = self._hold or made  # type: ignore[redundant-expr]
            if self._hold is made:
                # Else the next generation would have only what this one records.
                self._inherit(made)
        return self._hold

    def hand_over(self, to: Hold) -> None:
        """Move everything to where this process records from now on."""
        early, self._hold = self._hold, None
        self._records = 0
        if early is not None and early.pen is not None:
            move(early.pen.handed_over(), early.keys.series(), to)
        self._inherit(to)

    def _inherit(self, to: Hold) -> None:
        inherited, self._inherited = self._inherited, None
        if inherited is not None and inherited.pen is not None:
            move(inherited.pen.taken(), inherited.keys.series(), to, only=_stays)

    def forget(self, fresh: Callable[[Hold], Hold]) -> None:
        """Be as new in a forked child; *fresh* returns a hold with locks of its own."""
        # Of what is inherited in turn, too: a thread of the parent's may have held the lock.
        before = self._hold or self._inherited
        self._inherited, self._hold = None if before is None else fresh(before), None
        self.dropped, self._records = self.dropped + self._records, 0


def _stays(instrument: Instrument) -> bool:
    """Tell whether a figure is as true of a forked child as of its parent."""
    return instrument.kind == "gauge"


def move(
    taken: Taken,
    known: Iterable[Series],
    to: Hold,
    *,
    only: Callable[[Instrument], bool] = lambda _: True,
) -> None:
    """Add to *to* what was *taken* from the lanes of the *known* series of another memory."""
    assert to.pen is not None
    for series in known:
        if only(series.instrument) and _holds_anything(series, taken):
            found = to.series(series.instrument, series.attributes)
            if found is not None:
                _add(series, taken, found, to.pen)


def _holds_anything(series: Series, taken: Taken) -> bool:
    counts, sums, values = _parts(series, taken)
    return any(counts) or any(sums) or any(map(layout.is_set, values))


def _parts(series: Series, taken: Taken) -> tuple[Sequence[int], Sequence[float], Sequence[float]]:
    instrument = series.instrument
    return (
        taken.counts[series.base : series.base + instrument.counts],
        taken.sums[series.sums : series.sums + instrument.sums],
        taken.values[series.base : series.base + instrument.values],
    )


def _add(series: Series, taken: Taken, to: Series, pen: Pen) -> None:
    counts, sums, values = _parts(series, taken)
    pen.add((to.base + n, amount) for n, amount in enumerate(counts))
    with pen.lock:
        if series.instrument.merge == "recent":
            if sums[1] > pen.sums[to.sums + 1]:
                pen.sums[to.sums], pen.sums[to.sums + 1] = sums
        elif sums:
            pen.sums[to.sums] += sums[0]
        for lane, value in enumerate(values, to.base):
            if series.instrument.kind == "up_down_counter":
                pen.values[lane] += value
            # What was said meanwhile is newer.
            elif not layout.is_set(pen.values[lane]):
                pen.values[lane] = value
