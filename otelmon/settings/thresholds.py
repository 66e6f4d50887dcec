"""The thresholds of the alerts: the critical one where it is not set, and pairs that contradict."""

# ruff: noqa: RUF009 - variable() returns a dataclass field, made for each declaration

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.settings.rules import FRACTION, OFF, PERCENT, Off, number, or_off
from otelmon.settings.variables import Group, variable


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otelmon.settings.variables import Sound


class Levels(NamedTuple):
    """The thresholds of one alert; None where there is none."""

    warning: float | None
    critical: float | None


class Alert(NamedTuple):
    """An alert by its threshold: fields, derivation of the critical one, which way is worse."""

    stem: str
    derive: Callable[[float], float]
    worse: Callable[[float, float], bool]

    @property
    def warning(self) -> str:
        """The field of the warning threshold."""
        return f"{self.stem}_threshold"

    @property
    def critical(self) -> str:
        """The field of the critical threshold."""
        return f"{self.stem}_critical_threshold"

    def derived(self, warning: float) -> float | None:
        """Return the critical threshold that follows from *warning*, None if none is worse."""
        value = round(self.derive(warning), 9)  # 0.4, not 0.3999999999999999
        return value if self.worse(value, warning) else None

    def levels(self, warning: float | Off, critical: float | Off | None) -> Levels:
        """Return both: `off` for *warning* switches off both, None for *critical* derives it."""
        if warning == OFF:
            return Levels(None, None)
        if critical is None:
            return Levels(warning, self.derived(warning))
        return Levels(warning, None if critical == OFF else critical)


def _towards_full(warning: float) -> float:
    # Three quarters of what is left: above any warning and below 100 whatever is chosen.
    return warning + 0.75 * (100 - warning)


def _doubled(warning: float) -> float:
    return 2 * warning


def _doubled_share(warning: float) -> float:
    return min(_doubled(warning), _towards_full(warning))


def _doubled_misses(warning: float) -> float:
    return max(1 - 2 * (1 - warning), warning / 2)


def _quartered(warning: float) -> float:
    return warning / 4


def _quadrupled(warning: float) -> float:
    return 4 * warning


ALERTS: Final = {
    "cpu": Alert("alert_cpu", _towards_full, operator.gt),
    "memory": Alert("alert_memory", _towards_full, operator.gt),
    "disk": Alert("alert_disk", _towards_full, operator.gt),
    "error_rate": Alert("alert_error_rate", _doubled_share, operator.gt),
    "response_time": Alert("alert_response_time", _doubled, operator.gt),
    "cache": Alert("alert_cache_hit_rate", _doubled_misses, operator.lt),
    "pool_exhaustion": Alert("alert_pool", _towards_full, operator.gt),
    "worker_saturation": Alert("alert_saturation", _towards_full, operator.gt),
    "disk_full_soon": Alert("alert_disk_full_hours", _quartered, operator.lt),
    "worker_memory_growth": Alert("alert_memory_growth", _quadrupled, operator.gt),
}


def _contradictions(sound: Mapping[str, Sound]) -> list[str]:
    """Return a sentence for each critical threshold on the safe side of its warning."""
    return [
        _contradiction(alert, sound[alert.warning], sound[alert.critical])
        for alert in ALERTS.values()
        if alert.warning in sound
        and alert.critical in sound
        and _is_number(sound[alert.warning].value)
        and _is_number(sound[alert.critical].value)
        and alert.worse(sound[alert.warning].value, sound[alert.critical].value)
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _contradiction(alert: Alert, warning: Sound, critical: Sound) -> str:
    derived = alert.derived(warning.value)
    way_out = "set it to off" if derived is None else f"unset it for {derived}"
    side = "most" if alert.worse is operator.lt else "least"
    return (
        f"{critical.label} is {critical.value}, on the safe side of {warning.label} "
        f"({warning.value}): give at {side} {warning.value}, or {way_out}."
    )


_PERCENT = or_off(PERCENT)
_MS = or_off(number("milliseconds", 0, 86_400_000))
_FRACTION = or_off(FRACTION)
_HOURS = or_off(number("hours", 0, 8760))
_GROWTH = or_off(number("MB per hour", 0, 1_000_000))
_CRITICAL = "The same, where the alert is critical; derived from the other unless set."


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds(Group):
    """The thresholds as they are set; `alert_levels` tells what follows from them.

    `off` for a threshold switches the whole alert off, whatever its critical one says; `off` for
    the critical one leaves the warning. A critical one that is None is derived.
    """

    alert_cpu_threshold: float | Off = variable(
        "ALERT_CPU_THRESHOLD", 80.0, _PERCENT, "Percent of the CPU; off: no such alert."
    )
    alert_cpu_critical_threshold: float | Off | None = variable(
        "ALERT_CPU_CRITICAL_THRESHOLD", None, _PERCENT, _CRITICAL
    )
    alert_memory_threshold: float | Off = variable(
        "ALERT_MEMORY_THRESHOLD", 85.0, _PERCENT, "Percent of the memory."
    )
    alert_memory_critical_threshold: float | Off | None = variable(
        "ALERT_MEMORY_CRITICAL_THRESHOLD", None, _PERCENT, _CRITICAL
    )
    alert_disk_threshold: float | Off = variable(
        "ALERT_DISK_THRESHOLD", 90.0, _PERCENT, "Percent of the disk."
    )
    alert_disk_critical_threshold: float | Off | None = variable(
        "ALERT_DISK_CRITICAL_THRESHOLD", None, _PERCENT, _CRITICAL
    )
    alert_error_rate_threshold: float | Off = variable(
        "ALERT_ERROR_RATE_THRESHOLD", 5.0, _PERCENT, "Percent of the requests that failed."
    )
    alert_error_rate_critical_threshold: float | Off | None = variable(
        "ALERT_ERROR_RATE_CRITICAL_THRESHOLD", None, _PERCENT, _CRITICAL
    )
    alert_response_time_threshold: float | Off = variable(
        "ALERT_RESPONSE_TIME_THRESHOLD", 1000.0, _MS, "Mean milliseconds of a response."
    )
    alert_response_time_critical_threshold: float | Off | None = variable(
        "ALERT_RESPONSE_TIME_CRITICAL_THRESHOLD", None, _MS, _CRITICAL
    )
    alert_cache_hit_rate_threshold: float | Off = variable(
        "ALERT_CACHE_HIT_RATE_THRESHOLD", 0.70, _FRACTION, "Hits by look-ups, below it."
    )
    alert_cache_hit_rate_critical_threshold: float | Off | None = variable(
        "ALERT_CACHE_HIT_RATE_CRITICAL_THRESHOLD", None, _FRACTION, _CRITICAL
    )

    alert_pool_threshold: float | Off = variable(
        "ALERT_POOL_THRESHOLD", 90.0, _PERCENT, "Percent of a connection pool in use."
    )
    alert_pool_critical_threshold: float | Off | None = variable(
        "ALERT_POOL_CRITICAL_THRESHOLD", None, _PERCENT, _CRITICAL
    )
    alert_saturation_threshold: float | Off = variable(
        "ALERT_SATURATION_THRESHOLD", 80.0, _PERCENT, "Percent of the places for requests in use."
    )
    alert_saturation_critical_threshold: float | Off | None = variable(
        "ALERT_SATURATION_CRITICAL_THRESHOLD", None, _PERCENT, _CRITICAL
    )
    alert_disk_full_hours_threshold: float | Off = variable(
        "ALERT_DISK_FULL_HOURS_THRESHOLD", 8.0, _HOURS, "Hours until the disk is full, below it."
    )
    alert_disk_full_hours_critical_threshold: float | Off | None = variable(
        "ALERT_DISK_FULL_HOURS_CRITICAL_THRESHOLD", None, _HOURS, _CRITICAL
    )
    alert_memory_growth_threshold: float | Off = variable(
        "ALERT_MEMORY_GROWTH_THRESHOLD", 50.0, _GROWTH, "MB an hour by which workers grow."
    )
    alert_memory_growth_critical_threshold: float | Off | None = variable(
        "ALERT_MEMORY_GROWTH_CRITICAL_THRESHOLD", None, _GROWTH, _CRITICAL
    )

    contradictions = staticmethod(_contradictions)

    def alert_levels(self) -> dict[str, Levels]:
        """Return the warning and critical threshold of each alert rule by its id, in its unit."""
        return {
            name: alert.levels(getattr(self, alert.warning), getattr(self, alert.critical))
            for name, alert in ALERTS.items()
        }
