"""A sample of a configuration of Alertmanager."""

from __future__ import annotations

from typing import Any, Final

from otelmon.export import blocks


_ABOUT: Final = (
    "A sample for Alertmanager, to be completed with your receivers:",
    "otelmon export alertmanager > alertmanager.yml",
    "",
    "A critical alert silences the warning of the same alert and instance. Prometheus names them by",
    "job and instance, otelmon's own alerts (ALERTMANAGER_URL) by service and instance.",
)
_TREE: Final[dict[str, Any]] = {
    "route": {
        "receiver": "team",
        "group_by": ["alertname", "job", "service"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "4h",
        "routes": [{"receiver": "pager", "matchers": ['severity="critical"']}],
    },
    "inhibit_rules": [
        {
            "source_matchers": ['severity="critical"'],
            "target_matchers": ['severity="warning"'],
            "equal": ["alertname", "job", "service", "instance"],
        }
    ],
    "receivers": [
        {
            "name": name,
            "webhook_configs": [{"url": f"http://127.0.0.1:8080/{name}", "send_resolved": True}],
        }
        for name in ("team", "pager")
    ],
}


def alertmanager() -> str:
    """Return the file."""
    return blocks.text(_TREE, about=_ABOUT)
