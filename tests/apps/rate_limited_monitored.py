"""The same, observed: RateLimit around monitor, and monitor around RateLimit."""

from __future__ import annotations

from otelmon import RateLimit, monitor
from tests.apps.answers import application
from tests.apps.patient_limits import wait_for_counts


wait_for_counts()


app = RateLimit(monitor(application))
inner = monitor(RateLimit(application))
