"""The same, observed: RateLimit around monitor, and monitor around RateLimit."""

from __future__ import annotations

from otelmon import RateLimit, monitor
from tests.apps.answers import application


app = RateLimit(monitor(application))
inner = monitor(RateLimit(application))
