"""The alerts as a file of rules for Prometheus 2.42 and newer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otelmon.export import blocks
from otelmon.export.alerts import alerts
from otelmon.export.burn_rate import burn_rates


if TYPE_CHECKING:
    from otelmon.export.alerts import Alert
    from otelmon.settings import Settings


_ABOUT: Final = (
    "Alerts of otelmon for Prometheus 2.42 and newer, from its settings:",
    "otelmon export prometheus-rules > otelmon.rules.yml",
    "",
    "They are of the environment's settings. What the application gives in its code is not here: other",
    "Settings, and rules of its own (otelmon.add_rule), which only the process judges.",
)
_HELD: Final = "5m"


def prometheus_rules(settings: Settings, *, job: str) -> str:
    """Return the file; *job* is what the instance is scraped as."""
    groups = {"otelmon": alerts(settings, job=job), "otelmon-slo": burn_rates(settings)}
    tree: dict[str, Any] = {
        "groups": [
            {"name": name, "rules": [_rule(each, settings) for each in found]}
            for name, found in groups.items()
            if found
        ]
    }
    return blocks.text(tree, about=_ABOUT)


def _rule(alert: Alert, settings: Settings) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.for_,
        "keep_firing_for": _HELD,
        "labels": {
            "severity": alert.severity,
            **({} if alert.window is None else {"window": alert.window}),
        },
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            **_runbook(alert.id, settings.alert_runbook_url),
        },
    }


def _runbook(id_: str, base: str | None) -> dict[str, str]:
    return {} if base is None else {"runbook_url": f"{base.rstrip('/')}/{id_}"}
