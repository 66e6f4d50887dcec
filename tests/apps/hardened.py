"""The application that does everything a response may do, hardened, monitored on either side."""

from __future__ import annotations

from otelmon import harden, monitor
from tests.apps.answers import application
from tests.apps.patient_limits import wait_for_counts


wait_for_counts()


monitored_outside = monitor(harden(application))
monitored_inside = harden(monitor(application))
