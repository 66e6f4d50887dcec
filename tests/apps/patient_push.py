"""The plain application, whose last push to a collector may take as long as a busy machine needs.

By default a process that ends gives it two seconds.
"""

from __future__ import annotations

from otelmon.metrics import otlp
from tests.apps.plain import app


__all__ = ["app"]

vars(otlp)["_LAST_SECONDS"] = 20.0
