"""A real Alertmanager, started on a free port and asked by its own API."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any, Self

from tests.gunicorn_server import ask, free_port
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


class Alertmanager:
    """One running Alertmanager; a context manager, that can be entered again on the same port."""

    def __init__(self, directory: Path, webhook: str) -> None:
        """Describe it: critical inhibits warning of the same instance; all goes to *webhook*."""
        self.port = free_port()
        self._log = directory / "alertmanager.log"
        self._directory = directory
        self._config = directory / "alertmanager.yml"
        # JSON is YAML as well.
        self._config.write_text(json.dumps(_config(webhook)))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until its API answers."""
        command = [
            *("prometheus-alertmanager", f"--config.file={self._config}"),
            f"--storage.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            # Empty: else it listens for others of its kind, on all addresses.
            "--cluster.listen-address=",
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            assert until(self._is_ready, 20), self.log
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """End it."""
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with contextlib.suppress(OSError):
            return ask(self.port, "/-/ready").status == 200
        return False

    @property
    def log(self) -> str:
        """Return all that it has logged so far."""
        return self._log.read_text()

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
