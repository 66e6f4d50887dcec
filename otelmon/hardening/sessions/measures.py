"""What sessions tell; the instruments are made when a session is first used.

Not before: a middleware that is made while modules are imported must not decide which views hold.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal

from otelmon import faults
from otelmon.instruments.observing import Few
from otelmon.instruments.redis_commands import ERROR
from otelmon.stack import on_own_meter


if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from otelmon.hardening.sessions.errors import Reason
    from otelmon.hardening.sessions.stores import Store


log = logging.getLogger("otelmon")

Change = Literal["created", "renewed", "destroyed", "lost"]
CHANGES: Final = "otelmon.session.changes"
REJECTED: Final = "otelmon.session.rejections"
ERRORS: Final = "otelmon.session.errors"
ACTIVE: Final = "otelmon.session.active"
CHANGE: Final = "otelmon.session.change"
REASON: Final = "otelmon.session.reason"
_MAX_ERROR_TYPES: Final = 30


class Instruments:
    """The instruments of one meter, and the stores whose sessions are counted on it."""

    def __init__(self, meter: Meter) -> None:
        """Create them; the stores are asked every MONITORING_INTERVAL."""
        from opentelemetry.metrics import Observation

        self.changes = meter.create_counter(
            CHANGES,
            "{session}",
            "Sessions created, renewed, destroyed, and changes that were lost.",
        )
        self.rejected = meter.create_counter(
            REJECTED, "{session}", "Cookies that are those of no session, by the reason."
        )
        self.errors = meter.create_counter(
            ERRORS, "{error}", "Failures of what keeps sessions, each a request without one."
        )
        self.kinds = Few(_MAX_ERROR_TYPES)
        self.stores: dict[str, Store] = {}
        self._observation = Observation
        meter.create_observable_gauge(
            ACTIVE, [self._observe], "{session}", "Sessions that have not ended."
        )

    def _observe(self, _: CallbackOptions) -> Iterable[Observation]:
        counts = [store.active() for store in tuple(self.stores.values())]
        known = [count for count in counts if count is not None]
        return [self._observation(sum(known))] if known else []


def _instruments() -> Instruments:
    return on_own_meter(Instruments)


class Measures:
    """Counts what happens to sessions. Nothing here raises."""

    def __init__(self) -> None:
        """Create nothing yet."""
        self._made: Instruments | None = None
        self._told_lost = False

    def begin(self, store: Store) -> None:
        """Have the instruments, and count what *store* keeps from now on."""
        if self._made is None:
            try:
                self._made = _instruments()
            except Exception as error:  # noqa: BLE001 - no figures, no harm: the application goes on
                faults.report("session_figures", error)
                return
            if store.place is not None:
                self._made.stores[store.place] = store

    def changed(self, change: Change) -> None:
        """Count what became of a session."""
        if self._made is not None:
            self._made.changes.add(1, {CHANGE: change})

    def rejected(self, reason: Reason) -> None:
        """Count a cookie that was not believed."""
        if self._made is not None:
            self._made.rejected.add(1, {REASON: reason})

    def failed(self, error: Exception) -> None:
        """Say that sessions were not to be had, once in the log, always in the figures."""
        made = self._made
        if made is not None:
            made.errors.add(1, {ERROR: made.kinds(type(error).__qualname__)})
        faults.report("sessions", error)

    def lost(self) -> None:
        """Say that a change came too late."""
        self.changed("lost")
        if not self._told_lost:
            self._told_lost = True
            log.warning(
                "A session was changed after the headers of its answer were sent: that change is "
                "lost. Change sessions before the body begins. Further ones are only counted."
            )
