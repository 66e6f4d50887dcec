"""Spans of commands, by OpenTelemetry's own instrumentation and only where tracing is on."""

from __future__ import annotations

import importlib.util
import sys
from typing import Final


_INSTRUMENTATION: Final = "opentelemetry.instrumentation.redis"


def attach() -> bool:
    """Have redis-py traced if the application has set up tracing; tell if it is now.

    Tracing is on where the global provider is the SDK's. It is asked here and not imported: who has
    set it up has imported it. Without the instrumentation's package there are no spans.
    """
    if "redis" not in sys.modules or not _is_on() or not _is_installed():
        return False
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    instrumentor = RedisInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument()
    return bool(instrumentor.is_instrumented_by_opentelemetry)


def _is_on() -> bool:
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    if sdk is None:
        return False
    from opentelemetry import trace

    return isinstance(trace.get_tracer_provider(), sdk.TracerProvider)


def _is_installed() -> bool:
    # To look for a module imports the package that it is in, which must be there for that.
    parent = importlib.util.find_spec(_INSTRUMENTATION.rpartition(".")[0])
    return parent is not None and importlib.util.find_spec(_INSTRUMENTATION) is not None
