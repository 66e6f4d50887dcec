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
)
_HELD: Final = "5m"
_PAGES: Final = "docs/runbooks"


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
            "runbook_url": _runbook(alert.id, settings),
        },
    }


def _runbook(id_: str, settings: Settings) -> str:
    base = settings.alert_runbook_url
    return f"{_PAGES}/{id_}.md" if base is None else f"{base.rstrip('/')}/{id_}"
