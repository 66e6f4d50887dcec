"""Queries have spans where the application traces, by OpenTelemetry's instrumentation, and nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gunicorn_server import ROOT


OLDER = Path(sys.prefix) / "sqlalchemy20"
BEGINNING = """
import json, sys
import sqlalchemy
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.databases import Databases

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
early = sqlalchemy.create_engine("sqlite://")

def ask(engine, times=1):
    with engine.connect() as one:
        for _ in range(times):
            one.execute(sqlalchemy.text("SELECT 42"))

def spans():
    return [span for span in exporter.get_finished_spans() if span.name.startswith("SELECT")]

def tell(**more):
    print(json.dumps({"version": sqlalchemy.__version__, **more}))
"""
TRACED = """
trace.set_tracer_provider(provider)
with Databases() as seen:
    with trace.get_tracer("test").start_as_current_span("request") as request:
        ask(early, 3)
        ask(sqlalchemy.create_engine("sqlite://").execution_options(isolation_level="AUTOCOMMIT"))
    early.dispose()
    ask(early)
    parents = [span.parent.span_id if span.parent else None for span in spans()]
    tell(
        nested=parents.count(request.get_span_context().span_id),
        spans=len(parents),
        queries=seen.operations()["SELECT", None],
    )
"""
INSTRUMENTED = """
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
trace.set_tracer_provider(provider)
SQLAlchemyInstrumentor().instrument(engine=early, skip_dep_check=True)
with Databases() as seen:
    ask(early, 3)
    tell(spans=len(spans()), queries=seen.operations()["SELECT", None])
"""
UNTRACED = """
with Databases() as seen:
    ask(early, 3)
    tell(
        spans=len(spans()),
        queries=seen.operations()["SELECT", None],
        imported="opentelemetry.instrumentation.sqlalchemy" in sys.modules,
    )
"""


def told(code: str, *, older: bool = False) -> dict[str, Any]:
    """Run a program, perhaps with SQLAlchemy 2.0; return what it tells."""
    beginning = f"import sys; sys.path.insert(0, {str(OLDER)!r})\n" if older else ""
    ran = subprocess.run(
        [sys.executable, "-c", beginning + BEGINNING + code],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    assert found.pop("version").startswith("2.0." if older else "2.1.")
    return found


@pytest.mark.parametrize("older", [False, True])
def test_queries_have_spans_below_the_requests(older: bool) -> None:
    """Every engine's query has one span, below what is current, with either version of SQLAlchemy."""
    assert told(TRACED, older=older) == {"nested": 4, "spans": 5, "queries": 5}


def test_who_instruments_has_no_spans_twice() -> None:
    """What the application has instrumented itself is left alone."""
    assert told(INSTRUMENTED) == {"spans": 3, "queries": 3}


def test_without_tracing_there_are_none() -> None:
    """Nothing is put on engines, or imported, while nobody traces."""
    assert told(UNTRACED) == {"spans": 0, "queries": 3, "imported": False}
