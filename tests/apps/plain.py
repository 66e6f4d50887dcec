"""The application that does everything a response may do, under monitor().

Every answer carries the slot and pid of the process that gave it.
"""

from __future__ import annotations

from otelmon import monitor
from tests.apps.answers import application, tagged


app = tagged(monitor(application))
