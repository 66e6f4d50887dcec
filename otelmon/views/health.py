"""`/health`: how the instance does, for people, scripts and load balancers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from otelmon.checks.results import UNHEALTHY, shown
from otelmon.metrics import figures
from otelmon.views import own
from otelmon.views.auth import admits
from otelmon.views.monitoring import checked, summary
from otelmon.views.negotiation import prefers_health_json
from otelmon.views.response import OK, UNAVAILABLE, as_json


if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.views.response import Response
    from otelmon.views.source import Source


HEALTH_JSON: Final = "application/health+json"
_VARY: Final = (("Vary", "Accept"),)
# https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06
_WORDS: Final = {"healthy": "pass", UNHEALTHY: "fail", "up": "pass", "down": "fail"}
_OTHERWISE: Final = "warn"


def health(source: Source, environ: WSGIEnvironment) -> Response:
    """Answer everybody; whoever does not send the token learns only how it stands.

    503 only while a critical check is down.
    """
    reading, published, checks = source.reading(), source.published(), checked(source)
    monitoring = summary(reading, published, checks)
    status = OK if monitoring["status"] != UNHEALTHY else UNAVAILABLE
    known = admits(environ, source.settings.token)
    now = time.monotonic_ns()
    services = shown(checks, now) if known else {}
    if prefers_health_json(environ.get("HTTP_ACCEPT", "")):
        body = _draft(source, monitoring["status"], services, known=known)
        return as_json(body, status=status, extra=_VARY)._replace(content_type=HEALTH_JSON)
    found: dict[str, Any] = {
        "status": monitoring["status"],
        "timestamp": figures.iso(time.time_ns() / 1e9),
    }
    if known:
        found |= {
            "version": source.settings.service_version,
            "services": services,
            "monitoring": monitoring,
            "otelmon": own.brief(source, reading, published),
        }
    return as_json(found, status=status, extra=_VARY)


def _draft(
    source: Source, status: str, services: Mapping[str, Mapping[str, Any]], *, known: bool
) -> dict[str, Any]:
    """Return the object of the draft: a list of one measurement for each check."""
    found: dict[str, Any] = {"status": _WORDS.get(status, _OTHERWISE)}
    if known:
        found["releaseId"] = source.settings.service_version
        found["checks"] = {
            f"{name}:responseTime": [_measurement(each)] for name, each in services.items()
        }
    return found


def _measurement(service: Mapping[str, Any]) -> dict[str, Any]:
    status = _WORDS.get(service["status"], _OTHERWISE)
    if status == "fail" and not service["critical"]:
        # In the draft one failing check fails the whole.
        status = _OTHERWISE
    found = {
        "status": status,
        "time": service["checked_at"],
        "observedValue": service["latency_ms"],
        "observedUnit": "ms",
        "output": service["error"],
    }
    return {name: value for name, value in found.items() if value is not None}
