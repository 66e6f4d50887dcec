"""What rate limits tell; the instruments are made when they are first used.

Never who asked: a client could make series by the million, and an address is somebody's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from otelmon.instruments.lookups import adder
from otelmon.instruments.observing import Few
from otelmon.instruments.redis_commands import ERROR
from otelmon.recommendations.unknown_clients import OUTCOME, REQUESTS
from otelmon.stack import on_own_meter


if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Counter, Meter


ALLOWED: Final = "allowed"
LIMITED: Final = "limited"
UNCHECKED: Final = "unchecked"
REFUSALS: Final = "otelmon.rate_limit.refusals"
POLICY: Final = "otelmon.rate_limit.policy"
ERRORS: Final = "otelmon.rate_limit.errors"
EVICTIONS: Final = "otelmon.rate_limit.evictions"

_MAX_ERROR_TYPES: Final = 30


class LimitMeasures:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        """Create them."""
        self._requests: Counter = meter.create_counter(
            REQUESTS, "{request}", "Requests that a rate limit was about, by what came of it."
        )
        self._refusals: Counter = meter.create_counter(
            REFUSALS, "{refusal}", "Policies that refused a request; several may refuse one."
        )
        self._errors: Counter = meter.create_counter(
            ERRORS, "{error}", "Failures to count a request, which then passed."
        )
        self._evictions: Counter = meter.create_counter(
            EVICTIONS, "{client}", "Clients whose count was forgotten for want of room."
        )
        self.evicted = adder(self._evictions, {})
        self._kinds = Few(_MAX_ERROR_TYPES)
        # Bound once each: outcomes and policies are few.
        self.outcome = functools.cache(self._outcome)
        self.refused = functools.cache(self._refused)
        self.allowed = self.outcome(ALLOWED)
        self.limited = self.outcome(LIMITED)

    def _outcome(self, name: str) -> Callable[[int], object]:
        """Return what counts requests of one outcome."""
        return adder(self._requests, {OUTCOME: name})

    def _refused(self, policy: str) -> Callable[[int], object]:
        """Return what counts the refusals of one policy."""
        return adder(self._refusals, {POLICY: policy})

    def failed(self, error: BaseException) -> None:
        """Count a failure."""
        self._errors.add(1, {ERROR: self._kinds(type(error).__qualname__)})


def measures() -> LimitMeasures:
    """Return the instruments on this process's own meter."""
    return on_own_meter(LimitMeasures)
