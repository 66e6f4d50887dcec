"""The application under otelmon."""

from __future__ import annotations

from bench.apps import plain
from otelmon import monitor


app = monitor(plain.app)
