"""How Prometheus is to scrape the instance."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from otelmon.errors import ConfigError
from otelmon.export import blocks


if TYPE_CHECKING:
    from otelmon.settings import Settings


TOKEN_FILE: Final = "/etc/prometheus/otelmon.token"  # noqa: S105 - a path
_ABOUT: Final = (
    "A scrape of otelmon's metrics port, for prometheus.yml:",
    "otelmon export scrape",
)
_OFF: Final = "ENABLE_PROMETHEUS is not true: until it is, nothing is served there."
_ANY: Final = (
    "PROMETHEUS_HOST is {}, any address: the target is this machine's name. --target gives another."
)


def scrape(
    settings: Settings, *, job: str, target: str | None = None, token_file: str = TOKEN_FILE
) -> str:
    """Return the part of the file; *target* is host:port, that of the metrics port unless given.

    The token is not in it: *token_file* is to hold it, where Prometheus runs.

    Raises:
        ConfigError: the metrics port may be any.
    """
    about = [*_ABOUT]
    if target is None:
        if settings.prometheus_port == 0:
            raise ConfigError("PROMETHEUS_PORT is 0, any free one: name the port by --target.")
        host = socket.gethostname() if _is_any(settings) else settings.prometheus_host
        target = f"[{host}]" if ":" in host else host
        target += f":{settings.prometheus_port}"
        if _is_any(settings):
            about += ["", _ANY.format(settings.prometheus_host)]
    job_config: dict[str, Any] = {
        "job_name": job,
        "scrape_interval": f"{settings.monitoring_interval:g}s",
        "metrics_path": "/metrics",
        "static_configs": [{"targets": [target]}],
    }
    if not settings.enable_prometheus:
        about += ["", _OFF]
    if settings.token is not None:
        job_config["authorization"] = {"type": "Bearer", "credentials_file": token_file}
        about += ["", f"{token_file} must hold the value of OTELMON_TOKEN."]
    return blocks.text({"scrape_configs": [job_config]}, about=about)


def _is_any(settings: Settings) -> bool:
    return settings.prometheus_host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
