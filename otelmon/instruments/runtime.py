"""What this process uses, measured by itself and written to its slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from otelmon import faults
from otelmon.instruments.garbage import Garbage
from otelmon.instruments.proc_self import CpuTime, Files, Proportional, Status


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otelmon.instruments.figures import Report
    from otelmon.instruments.process import Figure
    from otelmon.ledger.hold import Hold
    from otelmon.ledger.instrument import Series
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen


class Source(Protocol):
    """A part of the world that is asked for some figures of this process."""

    @property
    def kind(self) -> str:
        """The word for its failures."""

    def read(self) -> Mapping[Figure, float | None]:
        """Return figures in their units: of the moment, or counted since the process began."""

    def forget(self) -> None:
        """Be as new in a forked child."""

    def close(self) -> None:
        """Give back what was taken."""


class Runtime:
    """Asks the sources, for one thread at a time.

    Of one that fails nothing is known, and *report* hears of it once for each time that it begins.
    What is counted is added to the slot by what it has grown; what is of the moment is said anew,
    and taken back when it is not known any more.
    """

    def __init__(
        self,
        ledger: Ledger,
        sources: Iterable[Source] | None = None,
        *,
        report: Report = faults.report,
    ) -> None:
        """Measure nothing yet, and write to *ledger*."""
        self._ledger = ledger
        self._sources = tuple(_of_this_process() if sources is None else sources)
        self._report = report
        self._failing: set[str] = set()
        self._figures: dict[str, tuple[Figure, ...]] = {}
        self._counted: dict[Figure, int] = {}
        self._pen: Pen | None = None
        self._series: dict[Figure, Series] = {}

    def measure(self) -> None:
        """Ask all sources, and tell what they say; nothing before this process serves."""
        if self._ledger.pen is None:
            return
        for source in self._sources:
            try:
                said = source.read()
            except Exception as error:  # noqa: BLE001 - a source may fail in any way; the rest goes on
                if source.kind not in self._failing:
                    self._report(source.kind, error)
                self._failing.add(source.kind)
                said = dict.fromkeys(self._figures.get(source.kind, ()))
            else:
                self._failing.discard(source.kind)
                self._figures[source.kind] = tuple(said)
            self._tell(said)

    def _tell(self, said: Mapping[Figure, float | None]) -> None:
        hold = self._ledger.holding()
        pen = hold.pen
        assert pen is not None
        if pen is not self._pen:
            # Other memory has other lanes; what was counted has been moved there.
            self._pen, self._series = pen, {}
        for figure, value in said.items():
            series = self._series.get(figure) or self._found(hold, figure, value)
            if series is None:
                continue
            if figure.instrument.merge == "slot":
                self._count(pen, series, figure, value)
            else:
                # A lane without any bit is one that nobody has stored to: a zero is negative.
                pen.values[series.base] = 0.0 if value is None else value or -0.0

    def _found(self, hold: Hold, figure: Figure, value: float | None) -> Series | None:
        """Return a figure's series; none for what is not known, and was not before."""
        if value is None:
            return None
        series = hold.series(*figure)
        if series is None or series.attributes != figure.attributes:
            return None  # the ledger is full, and has reported that
        self._series[figure] = series
        return series

    def _count(self, pen: Pen, series: Series, figure: Figure, value: float | None) -> None:
        if value is None:
            return
        scale = figure.instrument.scale
        assert scale is not None
        now = round(value / scale)
        grown = now - self._counted.get(figure, 0)
        if grown > 0:
            self._counted[figure] = now
            pen.add([(series.base, grown)])

    def forget(self) -> None:
        """Be as new in a forked child."""
        self._failing.clear()
        self._counted.clear()
        self._pen, self._series = None, {}
        for source in self._sources:
            source.forget()

    def close(self) -> None:
        """Leave the process as it was; what was counted stays known, should it serve again."""
        # The pen holds the ledger's memory.
        self._pen, self._series = None, {}
        for source in self._sources:
            source.close()


def _of_this_process() -> tuple[Source, ...]:
    return CpuTime(), Status(), Files(), Garbage(), Proportional()
