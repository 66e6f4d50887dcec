"""Spans of queries, where the application traces: by OpenTelemetry's own instrumentation.

It is put on each engine by itself. Its `instrument()` would refuse SQLAlchemy 2.1 by the number,
knows only engines that are made later, and can be called once in a process. What the application
instruments itself is left alone.
"""

from __future__ import annotations

import logging
import sys
import weakref
from typing import Any, Final

from otelmon import faults
from otelmon.instruments.tracing import is_tracing


log = logging.getLogger("otelmon")

_PACKAGE: Final = "opentelemetry.instrumentation.sqlalchemy"


class Spans:
    """The engines that have them."""

    def __init__(self) -> None:
        """None has yet."""
        self._dialects: weakref.WeakSet[Any] = weakref.WeakSet()
        self._missing = False

    def follow(self, engine: Any) -> None:  # noqa: ANN401 - either version's
        """Have *engine* make spans if the application traces, and not yet otherwise."""
        try:
            # What engines with other options share with the one that they are of.
            if engine.dialect in self._dialects or self._missing or not is_tracing():
                return
            self._dialects.add(engine.dialect)
            if not _is_instrumented():
                _attach(getattr(engine, "_proxied", engine))
        except ImportError:
            self._missing = True
            log.info(
                "No spans of queries: opentelemetry-instrumentation-sqlalchemy is not installed."
            )
        except Exception as error:  # noqa: BLE001 - the application gets its connection all the same
            faults.report("database_spans", error)


def _is_instrumented() -> bool:
    """Tell if the application has called the instrumentation itself."""
    module = sys.modules.get(_PACKAGE)
    if module is None:
        return False
    return bool(module.SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry)


def _attach(engine: Any) -> None:  # noqa: ANN401 - as above
    from opentelemetry import metrics, trace
    from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer

    # Its figure of connections is ours already, under the name that is not deprecated.
    nothing = metrics.NoOpMeter(_PACKAGE).create_up_down_counter("db.client.connections.usage")
    tracer: Any = EngineTracer
    tracer(trace.get_tracer(_PACKAGE), engine, nothing)


_spans: Final = Spans()
follow = _spans.follow
