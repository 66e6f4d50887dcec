"""What it adds to queries and connections, beside OpenTelemetry's instrumentation of SQLAlchemy.

A query of one row of SQLite by its key, which is about the least that a query can cost.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
)

from bench.interleaved import cost, cpu, in_turn, measure
from bench.tables import show
from otelmon.instruments.databases import observing
from otelmon.ledger.ledger import Ledger
from otelmon.metrics.api.provider import MeterProvider


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from sqlalchemy import Engine

    from bench.interleaved import Cost


CALLS: Final = 300
ROUNDS: Final = 25
BARE: Final = "not observed"
LEAST: Final = "a listener that only reads the clock"
OURS: Final = "otelmon"

products = Table(
    "products", MetaData(), Column("id", Integer, primary_key=True), Column("name", String)
)
one = select(products.c.name).where(products.c.id == 1)


class _Nowhere(SpanExporter):
    """Takes spans and keeps none."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - as the base has it
        """Take them."""
        return SpanExportResult.SUCCESS


def engines(directory: Path) -> dict[str, Engine]:
    """Return an engine for each case, each on the same file."""
    path = f"sqlite:///{directory}/bench.db"
    recording, sampled_out = TracerProvider(), TracerProvider(sampler=ALWAYS_OFF)
    recording.add_span_processor(SimpleSpanProcessor(_Nowhere()))
    meters = SdkMeterProvider([InMemoryMetricReader()])
    found = {BARE: create_engine(path), OURS: create_engine(path)}
    for name, tracers in (
        ("OpenTelemetry, metrics, spans sampled out", sampled_out),
        ("OpenTelemetry, metrics and spans", recording),
    ):
        found[name] = create_engine(path)
        instrumentor: Any = SQLAlchemyInstrumentor()
        # Its `instrument()` works once in a process.
        instrumentor._instrument(  # noqa: SLF001 - see above
            engine=found[name], tracer_provider=tracers, meter_provider=meters
        )
    # Else it would have ours asked too, who listens to all engines.
    bare: Any = found[BARE].dialect
    bare._has_events = False  # noqa: SLF001 - SQLAlchemy has no other word for it
    with found[BARE].begin() as connection:
        products.create(connection)
        connection.execute(insert(products).values(name="Pencil"))
    return found


def least(path: Path) -> dict[str, Cost]:
    """Measure what none can be below that listens: before ours does, as all engines would ask it."""
    found = {name: create_engine(f"sqlite:///{path}/least.db") for name in (BARE, LEAST)}

    def executing(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:  # noqa: ANN401 - SQLAlchemy's
        began = perf_counter()
        context.dialect.do_execute(cursor, statement, parameters, context)
        return perf_counter() >= began

    event.listen(found[LEAST], "do_execute", executing)
    with found[BARE].begin() as connection:
        products.create(connection)
        connection.execute(insert(products).values(name="Pencil"))
    connections = {name: engine.connect() for name, engine in found.items()}

    def query(name: str) -> Callable[[], object]:
        return lambda: connections[name].execute(one).all()

    costs = measure({name: query(name) for name in found}, calls=CALLS, rounds=ROUNDS)
    for name, engine in found.items():
        connections[name].close()
        engine.dispose()
    return costs


class Observed:
    """Runs a case many times, observed by us or not."""

    def __init__(self) -> None:
        """Make a ledger as a worker has it."""
        self._ledger = Ledger()
        self._ledger.serve_alone()
        self._provider = MeterProvider(self._ledger)

    def many(self, name: str, call: Callable[[], object]) -> Callable[[], float]:
        """Return what tells the cost of *call*, called often; only our own case is observed by us."""

        def ran() -> float:
            if name == OURS:
                observing.observe_databases(self._provider, self._ledger)
            else:
                observing.rest()
            call()
            return cpu(call, calls=CALLS)

        return ran


def queries(found: dict[str, Engine], observed: Observed) -> dict[str, Cost]:
    """Measure queries on a connection that stands."""
    connections = {name: engine.connect() for name, engine in found.items()}

    def query(name: str) -> Callable[[], object]:
        connection = connections[name]
        return lambda: connection.execute(one).all()

    costs = _costs({name: observed.many(name, query(name)) for name in found})
    for connection in connections.values():
        connection.close()
    return costs


def whole(found: dict[str, Engine], observed: Observed) -> dict[str, Cost]:
    """Measure taking a connection, a query, and giving it back."""

    def work(engine: Engine) -> Callable[[], object]:
        def ran() -> object:
            with engine.connect() as connection:
                return connection.execute(one).all()

        return ran

    return _costs({name: observed.many(name, work(engine)) for name, engine in found.items()})


def _costs(cases: Mapping[str, Callable[[], float]]) -> dict[str, Cost]:
    return {name: cost(seen) for name, seen in in_turn(cases, rounds=ROUNDS).items()}


def table(title: str, costs: dict[str, Cost]) -> None:
    """Print what each case adds."""
    bare = costs[BARE]
    rows = [
        [
            name,
            f"{each.least / 1e3:.2f} / {each.median / 1e3:.2f}",
            f"{(each.least - bare.least) / 1e3:.2f} / {(each.median - bare.median) / 1e3:.2f}",
            f"{each.median / bare.median:.2f}",
        ]
        for name, each in costs.items()
    ]
    show(title, ["case", "CPU us (min / median)", "added us", "ratio"], rows)


class Nothing:
    """A dialect whose queries take no time."""

    name = "sqlite"

    def __init__(self, engine: Engine) -> None:
        """Have the listeners of *engine*'s dialect."""
        self.dispatch = engine.dialect.dispatch

    def do_execute(self, *_: object) -> None:
        """Do nothing."""


def alone(engine: Engine, observed: Observed) -> dict[str, Cost]:
    """Measure our part of a query without the query, which is more exact."""
    dialect = Nothing(engine)
    context = SimpleNamespace(dialect=dialect)
    (listener,) = dialect.dispatch.do_execute
    sql = "SELECT products.name FROM products WHERE products.id = ?"
    observed.many(OURS, lambda: None)()
    return _costs(
        {
            BARE: observed.many(OURS, lambda: dialect.do_execute(None, sql, (), context)),
            OURS: observed.many(OURS, lambda: listener(None, sql, (), context)),
        }
    )


def main() -> None:
    """Print all tables."""
    with tempfile.TemporaryDirectory() as directory:
        table("A query, before anything of ours is there", least(Path(directory)))
        found, observed = engines(Path(directory)), Observed()
        table("A query", queries(found, observed))
        table("Taking a connection, a query, and giving it back", whole(found, observed))
        part = alone(create_engine("sqlite://"), observed)
        table("Our part of a query that takes no time", part)
        for engine in found.values():
            engine.dispose()


if __name__ == "__main__":
    main()
