"""The MeterProvider whose instruments all processes of the server share."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics

from otelmon.ledger.instrument import Scope, told_apart
from otelmon.metrics.api.attributes import normalised
from otelmon.metrics.api.meter import Meter


if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelmon.ledger.ledger import Ledger
    from otelmon.metrics.api.view import View


log = logging.getLogger("otelmon")

# How long one callback may take before it is left behind.
CALLBACK_SECONDS: Final = 5.0


class MeterProvider(metrics.MeterProvider):
    """Makes meters whose instruments record to the ledger.

    What is recorded before the process serves waits in its own memory. A forked child takes over
    its parent's gauges, and none of its sums.
    """

    def __init__(
        self, ledger: Ledger, *, views: Sequence[View] = (), disabled: bool = False
    ) -> None:
        """Record to *ledger*; where *disabled*, make meters that record nothing."""
        self.ledger = ledger
        # One list, which all meters look at whenever they make an instrument.
        self._views = list(views)
        self._told = False
        self.silent = disabled
        self._meters: dict[object, Meter] = {}

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> metrics.Meter:
        """Return the meter of a scope; after `shutdown` one that records nothing."""
        if self.silent:
            return metrics.NoOpMeter(name, version, schema_url)
        if not name:
            log.warning(
                "get_meter() was called with %r, which is no name: its instruments have a scope without one.",
                name,
            )
        known = attributes if isinstance(attributes, Mapping) else {}
        scope = Scope(str(name or ""), version or "", schema_url or "", normalised(known))
        key = (*scope[:3], *told_apart(scope.attributes))
        found = self._meters.get(key)
        # One call, so that of two threads both get the same meter.
        return found or self._meters.setdefault(key, Meter(self.ledger, scope, self._views))

    @property
    def views(self) -> tuple[View, ...]:
        """Return those that hold now."""
        return tuple(self._views)

    def follow(self, views: Sequence[View]) -> bool:
        """Have *views* hold for what is made from now on; return False if it was told others before."""
        if self._told and tuple(views) != self.views:
            return False
        self._told = True
        self._views[:] = views
        return True

    def made(self, views: Sequence[View]) -> list[str]:
        """Return the names of the instruments that were made by now and that *views* match."""
        made = [each for meter in list(self._meters.values()) for each in meter.made()]
        return sorted({each.name for each in made if any(view.matches(each) for view in views)})

    def observe(self, *, seconds: float | None = None) -> bool:
        """Ask all callbacks, each for 5 s at the most, all for *seconds*; say if all answered."""
        deadline = None if seconds is None else time.monotonic() + seconds
        answered = True
        for meter in list(self._meters.values()):
            for each in list(meter.observed):
                left = CALLBACK_SECONDS if deadline is None else deadline - time.monotonic()
                answered &= each.observe(self.ledger, max(0.0, min(left, CALLBACK_SECONDS)))
        return answered

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Have every record shown to readers; return whether that is so now.

        What is recorded is shown at once, and there is nothing to flush but what callbacks have to
        say. False while the process does not serve: then nobody else sees what it records.
        """
        if self.silent:
            return True
        return self.observe(seconds=timeout_millis / 1000) and self.ledger.pen is not None

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Record no more in this process; what was recorded stays."""
        if self.silent:
            log.warning("shutdown was called on a MeterProvider that records nothing any more.")
            return
        self.force_flush(timeout_millis)
        self.silence()

    def silence(self) -> None:
        """Record no more in this process, and ask no callbacks."""
        self.silent = True
        for meter in list(self._meters.values()):
            meter.silence()

    def forget(self) -> None:
        """Be as new in a forked child."""
        for meter in list(self._meters.values()):
            for each in list(meter.observed):
                each.forget()
