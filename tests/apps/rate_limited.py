"""The application that does everything a response may do, behind RateLimit alone."""

from __future__ import annotations

from otelmon import Policy, RateLimit
from tests.apps.answers import application
from tests.apps.patient_limits import wait_for_counts


wait_for_counts()


app = RateLimit(
    application, policies=[Policy("login", "5/minute", paths=("/status",), methods=("POST",))]
)
