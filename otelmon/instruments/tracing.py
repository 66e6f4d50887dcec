"""Whether the application traces, which is asked before anything is put on a library for spans."""

from __future__ import annotations

import sys


def is_tracing() -> bool:
    """Tell if a tracer provider was set that is more than OpenTelemetry's API by itself.

    Whose it is does not matter: the SDK's, or a vendor's. It is asked and not imported: who has set
    one has imported the API.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return False
    none = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
    return not isinstance(trace.get_tracer_provider(), none)
