"""Spans of commands, by OpenTelemetry's own instrumentation and only where tracing is on."""

from __future__ import annotations

import importlib.util
import sys
from typing import Final

from otelmon.instruments.tracing import is_tracing


_INSTRUMENTATION: Final = "opentelemetry.instrumentation.redis"


def attach() -> bool:
    """Have redis-py traced if the application has set up tracing; tell if it is now.

    Without the instrumentation's package there are no spans.
    """
    if "redis" not in sys.modules or not is_tracing() or not _is_installed():
        return False
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    instrumentor = RedisInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument()
    return bool(instrumentor.is_instrumented_by_opentelemetry)


def _is_installed() -> bool:
    # To look for a module imports the package that it is in, which must be there for that.
    parent = importlib.util.find_spec(_INSTRUMENTATION.rpartition(".")[0])
    return parent is not None and importlib.util.find_spec(_INSTRUMENTATION) is not None
