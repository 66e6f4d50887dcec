"""An objective of availability, and how fast its budget of errors is used up.

Windows, factors and severities are those of the SRE workbook, chapter 5:
https://sre.google/workbook/alerting-on-slos/

Where there is little traffic one error is a large share; so many must have failed as for the error
rate. There is no floor of requests: a quiet service of which all requests fail is to be told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from otelmon.export.alerts import ERRORS, Alert
from otelmon.export.series import requests


if TYPE_CHECKING:
    from otelmon.settings import Settings


class _Burn(NamedTuple):
    factor: float
    long: str
    short: str
    for_: str
    severity: str
    budget: str  # of 30 days


_BURNS: Final = (
    _Burn(14.4, "1h", "5m", "2m", "critical", "2 %"),
    _Burn(6, "6h", "30m", "15m", "critical", "5 %"),
    _Burn(3, "1d", "2h", "1h", "warning", "10 %"),
    _Burn(1, "3d", "6h", "3h", "warning", "10 %"),
)


def burn_rates(settings: Settings) -> list[Alert]:
    """Return the alerts of OTELMON_SLO_AVAILABILITY, over all instances; none if it is not set."""
    if settings.slo_availability is None:
        return []
    budget = 1 - settings.slo_availability / 100
    return [
        Alert(
            "slo_burn",
            "OtelmonErrorBudgetBurn",
            burn.severity,
            f"{_share(settings, burn.long)} > {burn.factor * budget:.6g}\n"
            f"and {_share(settings, burn.short)} > {burn.factor * budget:.6g}\n"
            f"and {_failed('increase', settings, burn.long)} >= {ERRORS}",
            "The budget of errors is used up too fast.",
            f"{{{{ $value | humanizePercentage }}}} of the requests of the last {burn.long} failed, "
            f"more than {burn.factor:g} times what {settings.slo_availability:g} % allow: with even "
            f"traffic at least {burn.budget} of the 30-day budget.",
            burn.for_,
            burn.long,
        )
        for burn in _BURNS
    ]


def _share(settings: Settings, window: str) -> str:
    served = f"sum by (job) (rate({requests(settings).all}[{window}]))"
    return f"{_failed('rate', settings, window)} / {served}"


def _failed(function: str, settings: Settings, window: str) -> str:
    return f"sum by (job) ({function}({requests(settings).errors}[{window}]))"
