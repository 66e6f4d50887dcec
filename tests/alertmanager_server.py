"""A real Alertmanager, started on a free port and asked by its own API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.free_ports import free_port
from tests.gunicorn_server import ask
from tests.prometheus_program import PrometheusProgram


if TYPE_CHECKING:
    from pathlib import Path


class Alertmanager(PrometheusProgram):
    """One running Alertmanager, that can be entered again on the same port."""

    def __init__(self, directory: Path, webhook: str) -> None:
        """Describe it: critical inhibits warning of the same instance; all goes to *webhook*."""
        port, config = free_port(), directory / "alertmanager.yml"
        # JSON is YAML as well.
        config.write_text(json.dumps(_config(webhook)))
        command = [
            *("prometheus-alertmanager", f"--config.file={config}"),
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            # Empty: else it listens for others of its kind, on all addresses.
            "--cluster.listen-address=",
        ]
        super().__init__(command, port=port, log_path=directory / "alertmanager.log")

    def alerts(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return what is active, by name and severity, as its API has it."""
        found = ask(self.port, "/api/v2/alerts").json()
        return {(each["labels"]["alertname"], each["labels"]["severity"]): each for each in found}

    def states(self) -> dict[tuple[str, str], str]:
        """Return whether what is active is told of, or suppressed."""
        return {name: each["status"]["state"] for name, each in self.alerts().items()}


def _config(webhook: str) -> dict[str, Any]:
    return {
        "route": {
            "receiver": "test",
            "group_by": ["alertname"],
            "group_wait": "100ms",
            "group_interval": "200ms",
            "repeat_interval": "1h",
        },
        "receivers": [
            {"name": "test", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
        ],
        "inhibit_rules": [
            {
                "source_matchers": ['severity="critical"'],
                "target_matchers": ['severity="warning"'],
                "equal": ["service", "instance"],
            }
        ],
    }
