"""The keeper's part: looks at everything twice a minute, and publishes what is advised."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from otelmon import board
from otelmon.ledger.fault_counts import counted
from otelmon.loading import apart_from_forks
from otelmon.metrics import processes
from otelmon.metrics.past import Past
from otelmon.recommendations import advice, diary
from otelmon.settings.owned import used


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.ledger.segment import Segment
    from otelmon.recommendations.diary import Entry
    from otelmon.recommendations.evidence import Evidence, Server
    from otelmon.settings import Settings


# Shares and multiples of the patience, so that all of them scale with it.
_PERIODS: Final = 10
_STEPS: Final = 5
_HOURS: Final = 12


class Advisor:
    """For one thread of one process."""

    def __init__(
        self,
        settings: Settings,
        *,
        server: Callable[[], Server | None],
        checks: Callable[[], int],
    ) -> None:
        """Look at nothing yet; *checks* tells how many health checks are registered."""
        self._settings = settings
        self._server = server
        self._checks = checks
        self._due = 0.0

    def forget(self) -> None:
        """Be as new in a forked child."""
        self._due = 0.0

    def tick(self, segment: Segment, reading: Reading, published: Published) -> None:
        """Advise, if it is time to; *published* is what the board shows now.

        Raises:
            LedgerError, OSError: there is no space for it.
        """
        if time.monotonic() < self._due:
            return
        # Here, because only the keeper is to pay for the import.
        with apart_from_forks():
            from otelmon.recommendations import evidence, gathering  # noqa: F401 - for `_gathered`
            from otelmon.recommendations.catalogue import review

        patience = evidence.PATIENCE_SECONDS
        self._due = time.monotonic() + patience / _PERIODS
        entries = advice.read_diary(segment)
        found, now = self._gathered(segment, reading, published, entries)
        entries = diary.noted(entries, now, step=patience / _STEPS)
        before = advice.read(segment)
        advice.publish(segment, advice.advice(review(found), reading.at, before), entries)

    def _gathered(
        self, segment: Segment, reading: Reading, published: Published, entries: list[Entry]
    ) -> tuple[Evidence, Entry]:
        from otelmon.metrics.overflow import overflows
        from otelmon.recommendations import evidence, gathering

        past = Past(segment, board.newest(segment))
        spans, points = past.spans, past.points
        requests, known = gathering.answered(reading), gathering.measured(reading)
        memory = processes.resident(reading)
        now = gathering.entry(reading, published, requests, known, memory)
        patience = evidence.PATIENCE_SECONDS
        found = evidence.Evidence(
            settings=self._settings,
            seconds=gathering.lasted(points),
            patience=patience,
            host=published.host,
            windows=gathering.overall(spans),
            routes=gathering.routes(spans, reading, requests.errors),
            queue_p95=gathering.queue_p95(spans),
            points=points,
            counts=diary.counted(entries, now, evidence.WINDOW_SECONDS),
            workers=len(reading.workers),
            memory={int(slot): size for slot, (_, size) in now.memory.items()},
            growth=diary.growth(entries, now, hour=_HOURS * patience),
            server=self._server(),
            client_errors=requests.top,
            measured=known,
            checks=self._checks(),
            used=used(),
            overflows=overflows(
                reading,
                series_limit=self._settings.cardinality_limit,
                total_limit=self._settings.cardinality_total,
            ),
            faults=counted(reading),
            complete=reading.complete,
            interval=published.interval,
        )
        return found, now
