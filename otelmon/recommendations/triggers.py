"""Where a recommendation begins to speak: before the alert of the same figure does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from otelmon.recommendations.verdict import Severity
    from otelmon.settings import Settings


_SHARE: Final = 0.875


class Trigger(NamedTuple):
    """From which value on it speaks, and from which on it is critical."""

    at: float
    critical: float | None

    def severity(self, value: float) -> Severity:
        """Return how bad a value is."""
        return "critical" if self.critical is not None and value > self.critical else "warning"


def of_alert(settings: Settings, name: str) -> Trigger | None:
    """Return 7/8 of an alert's warning threshold; None if that is off.

    Advice comes while there is time: with the CPU's default of 80 % it speaks at 70.
    """
    levels = settings.alert_levels()[name]
    if levels.warning is None:
        return None
    return Trigger(round(_SHARE * levels.warning, 3), levels.critical)
