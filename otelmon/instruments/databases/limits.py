"""How many connections a server allows: asked once, beside the application and never by it.

The question goes over a connection of its own, made as the pool makes its own and closed at once, in
the thread that asks callbacks, which leaves behind what does not answer in time. So neither a
request nor a pool waits for it.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.instruments.databases.levels import POOL
from otelmon.instruments.databases.sqlalchemy_hooks import Watched


if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from otelmon.instruments.databases.pools import Instruments


LIMIT: Final = "otelmon.db.server.connection.limit"
# Without those that are kept for the administrator; a role or a database may be allowed fewer.
_POSTGRESQL: Final = """
    SELECT least(
        (SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END)
        FROM pg_catalog.pg_settings
        WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')),
        (SELECT nullif(rolconnlimit, -1) FROM pg_catalog.pg_roles WHERE rolname = current_user),
        (SELECT nullif(datconnlimit, -1) FROM pg_catalog.pg_database
        WHERE datname = current_database())
    )
"""
# An account may have a limit of its own, which hosted servers often give; 0 stands for none.
_MYSQL: Final = """
    SELECT CASE WHEN @@session.max_user_connections > 0
    THEN LEAST(@@session.max_user_connections, @@global.max_connections)
    ELSE @@global.max_connections END
"""
_QUESTIONS: Final = {"postgresql": _POSTGRESQL, "mysql": _MYSQL, "mariadb": _MYSQL}
_AGAIN_NS: Final = 300 * 1_000_000_000


class Limits:
    """What the servers of this process's pools have answered, by pool name."""

    def __init__(self, pools: Instruments) -> None:
        """Have asked nothing."""
        self._pools = pools
        self._known: dict[str, int] = {}
        self._ask_at: dict[str, int] = {}

    def observe(self, _: CallbackOptions) -> Iterable[Observation]:
        """Ask those that were not asked, and say what is known; it comes once in an interval."""
        from opentelemetry.metrics import Observation

        # What pools have done behind our back, as when an engine was disposed of.
        self._pools.refresh()
        for name, watched in self._pools.watched(Watched):
            if name not in self._known and watched.used:
                self._ask(name, watched)
        return [Observation(limit, {POOL: name}) for name, limit in self._known.items()]

    def _ask(self, name: str, watched: Watched) -> None:
        now = monotonic_ns()
        if now < self._ask_at.get(name, 0):
            return
        self._ask_at[name] = now + _AGAIN_NS
        engine = watched.engine()
        if engine is None or engine.dialect.is_async or engine.dialect.name not in _QUESTIONS:
            return
        try:
            self._known[name] = asked(engine, _QUESTIONS[engine.dialect.name])
        except Exception as error:  # noqa: BLE001 - not known, then; it is asked again some minutes later
            faults.report("database_limit", error)


def asked(engine: Any, question: str) -> int:  # noqa: ANN401 - either version's
    """Return the number that *question* is answered with."""
    pool = engine.pool.recreate()
    try:
        connection = pool.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(question)
            return int(cursor.fetchone()[0])
        finally:
            connection.close()
    finally:
        pool.dispose()


def observe(meter: Meter, pools: Instruments) -> None:
    """Show on *meter* what the servers of *pools* allow."""
    limits = Limits(pools)
    meter.create_observable_gauge(
        LIMIT,
        [limits.observe],
        unit="{connection}",
        description="Connections that the database server allows to all of its clients.",
    )
