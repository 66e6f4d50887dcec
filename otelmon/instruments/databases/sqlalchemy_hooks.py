"""Where SQLAlchemy 2.0 and 2.1 are seen: all engines of the process, those that are there already too.

- `Engine.raw_connection`, through which every engine takes its connections: how long that takes,
  and what waits or fails there. No event tells of a wait.
- `Pool._return_conn`, where they come back, also those that only the garbage collector returns. When
  the event `checkin` is fired the pool does not have it yet, and counts it nowhere.
- Events of pools for what happens more rarely, and those of dialects for queries: see
  `sqlalchemy_queries.py`.

Classes are hooked, not objects; a method is called as it was while nothing observes.
"""

from __future__ import annotations

import time
import weakref
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.instruments.databases import tracing
from otelmon.instruments.databases.names import pool_name
from otelmon.instruments.databases.pools import Counted, Named
from otelmon.instruments.databases.sqlalchemy_queries import Systems
from otelmon.instruments.observing import turns


if TYPE_CHECKING:
    from otelmon.instruments.databases.pools import Instruments
    from otelmon.instruments.databases.queries import Queries


_KEY: Final = "otelmon.lease"
_CREATED: Final = "otelmon.created"
_WATCHED: Final = "_otelmon_watched"
_LOOK_NS: Final = 1_000_000_000


class Lease:
    """A pool's connection: since when it is out (ns), 0 while it is not."""

    __slots__ = ("pool", "taken")

    def __init__(self, pool: Watched) -> None:
        """Be of *pool*, and not out."""
        self.pool = pool
        self.taken = 0


class Watched(Counted):
    """One pool, held weakly."""

    def __init__(self, pool: Any, named: Named, engine: Any) -> None:  # noqa: ANN401 - either version's
        """Count it under a name."""
        self.named = named
        self.look_at = 0
        # One with other options is often gone with the statement, and shares the pool of this one.
        self.engine = weakref.ref(getattr(engine, "_proxied", engine))
        self.used = False
        self._pool = weakref.ref(pool, self._gone)
        self.kept, self.most = _size(pool)
        # Other kinds than queues tell none.
        self._checkedin = getattr(type(pool), "checkedin", None)
        named.add(self)

    def _gone(self, _: object) -> None:
        self.named.remove(self)

    def idle(self) -> int:
        """Return how many it keeps."""
        pool = self._pool()
        return 0 if pool is None or self._checkedin is None else self._checkedin(pool)

    def opens(self) -> bool:
        """Tell if it is still its engine's, which `dispose` gives another one."""
        engine, pool = self.engine(), self._pool()
        return engine is not None and pool is not None and engine.pool is pool


def _size(pool: Any) -> tuple[int | None, int | None]:  # noqa: ANN401 - as above
    from sqlalchemy.pool import AssertionPool, QueuePool, StaticPool

    if isinstance(pool, QueuePool):
        kept = pool.size()
        # No method tells it. Where it is called otherwise, there is no figure.
        over = getattr(pool, "_max_overflow", -1)
        return kept or None, kept + over if kept and over >= 0 else None
    return (1, 1) if isinstance(pool, StaticPool | AssertionPool) else (None, None)


class Hooks:
    """What is put into SQLAlchemy, once in the life of the process."""

    def __init__(self) -> None:
        """Put nothing anywhere yet."""
        self._pools: Instruments | None = None
        self._systems = Systems()
        self._installed = False

    def observe(self, pools: Instruments, queries: Queries) -> None:
        """Record to these from now on."""
        self._pools = pools
        self._systems.book_to(queries)

    def rest(self) -> None:
        """Record nothing."""
        self._pools = None
        self._systems.book_to(None)

    def install(self) -> None:
        """Hook the classes. SQLAlchemy must have been imported."""
        if self._installed:
            return
        self._installed = True
        from sqlalchemy import event
        from sqlalchemy.engine import Engine
        from sqlalchemy.pool import Pool

        for name, listener in self._systems.listeners().items():
            event.listen(Engine, name, listener)
        event.listen(Pool, "connect", self._connected)
        event.listen(Pool, "detach", self._detached)
        event.listen(Pool, "invalidate", self._invalidated)
        event.listen(Pool, "soft_invalidate", self._soft_invalidated)
        self._hook_taking(Engine)
        self._hook_returning(Pool)

    # -- connections -------------------------------------------------------------------------------

    def _hook_taking(self, engines: Any) -> None:  # noqa: ANN401 - as above
        original = engines.raw_connection

        def raw_connection(engine: Any) -> Any:  # noqa: ANN401 - as above
            watched = self._watched(engine)
            if watched is None:
                return original(engine)
            began = self._claim(engine, watched)
            try:
                connection = original(engine)
            except BaseException as error:
                self._failed(watched, began, error)
                raise
            self._got(connection, watched, began)
            return connection

        raw_connection.__doc__ = original.__doc__
        engines.raw_connection = raw_connection

    def _watched(self, engine: Any) -> Watched | None:  # noqa: ANN401 - as above
        """Return what counts the engine's pool; None where that is nobody's business, or fails."""
        instruments = self._pools
        if instruments is None:
            return None
        try:
            pool = engine.pool
            found: Watched | None = pool.__dict__.get(_WATCHED)
            if found is None or found.named.of is not instruments:
                found = self._watch(pool, engine, instruments)
        except Exception as error:  # noqa: BLE001 - the application gets its connection all the same
            faults.report("database_pool", error)
            return None
        return found

    def _watch(self, pool: Any, engine: Any, instruments: Instruments) -> Watched:  # noqa: ANN401 - as above
        # Threads that come first at once must not each have their own: what one of them takes
        # would come back to another one's count.
        with turns.lock:
            found: Watched | None = pool.__dict__.get(_WATCHED)
            if found is None or found.named.of is not instruments:
                found = Watched(pool, instruments.named(pool_name(engine)), engine)
                pool.__dict__[_WATCHED] = found
            return found

    def _claim(self, engine: Any, watched: Watched) -> int:  # noqa: ANN401 - as above
        try:
            began = watched.named.claim(watched)
        except Exception as error:  # noqa: BLE001 - as above
            faults.report("database_pool", error)
            began = monotonic_ns()
        if began >= watched.look_at:
            watched.look_at = began + _LOOK_NS
            tracing.follow(engine)
        return began

    def _failed(self, watched: Watched, began: int, error: BaseException) -> None:
        try:
            watched.named.failed(watched, began, error, timed_out=_is_timeout(error))
        except Exception as fault:  # noqa: BLE001 - as above
            faults.report("database_pool", fault)

    def _got(self, connection: Any, watched: Watched, began: int) -> None:  # noqa: ANN401 - as above
        try:
            info = connection.record_info
            lease = info.get(_KEY)
            if lease is None:
                lease = info[_KEY] = Lease(watched)
            if lease.taken:
                # A pool for each thread hands the same one out again, and takes it back once.
                watched.named.unclaim(watched)
                return
            lease.taken = watched.named.got(watched, began, info.pop(_CREATED, None))
            watched.used = True
        except Exception as error:  # noqa: BLE001 - as above
            faults.report("database_pool", error)

    def _hook_returning(self, pools: Any) -> None:  # noqa: ANN401 - as above
        original = pools._return_conn  # noqa: SLF001 - see the module's first lines

        def _return_conn(pool: Any, record: Any) -> None:  # noqa: ANN401 - as above
            try:
                original(pool, record)
            finally:
                self._ended(record)

        _return_conn.__doc__ = original.__doc__
        pools._return_conn = _return_conn  # noqa: SLF001 - as above

    def _ended(self, record: Any) -> None:  # noqa: ANN401 - as above
        try:
            lease = record.record_info.get(_KEY)
            if lease is not None and lease.taken:
                taken, lease.taken = lease.taken, 0
                lease.pool.named.returned(lease.pool, taken)
        except Exception as error:  # noqa: BLE001 - as above
            faults.report("database_pool", error)

    # -- events ------------------------------------------------------------------------------------

    def _connected(self, _connection: object, record: Any) -> None:  # noqa: ANN401 - as above
        # It tells when it began by the wall clock, which may have been set since.
        took = time.time_ns() - round(record.starttime * 1e9)
        if self._pools is not None and took >= 0:
            record.record_info[_CREATED] = took

    def _detached(self, _connection: object, record: Any) -> None:  # noqa: ANN401 - as above
        self._ended(record)

    def _invalidated(self, _: object, record: Any, error: BaseException | None) -> None:  # noqa: ANN401 - as above
        self._given_up(record, error)

    def _soft_invalidated(self, _: object, record: Any, _error: BaseException | None) -> None:  # noqa: ANN401 - as above
        self._given_up(record, None, soft=True)

    def _given_up(
        self,
        record: Any,  # noqa: ANN401 - as above
        error: BaseException | None,
        *,
        soft: bool = False,
    ) -> None:
        try:
            lease = record.record_info.get(_KEY)
            if lease is not None and self._pools is not None:
                lease.pool.named.invalidated(_reason(lease, error, soft=soft))
        except Exception as fault:  # noqa: BLE001 - as above
            faults.report("database_pool", fault)


def _is_timeout(error: BaseException) -> bool:
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    return isinstance(error, PoolTimeout)


def _reason(lease: Lease, error: BaseException | None, *, soft: bool) -> str:
    from sqlalchemy.exc import DisconnectionError

    if soft:
        return "soft"
    if not lease.taken and isinstance(error, DisconnectionError):
        # Raised while a connection is handed out: the test of it failed.
        return "pre_ping"
    return "application" if error is None else "error"


HOOKS: Final = Hooks()
