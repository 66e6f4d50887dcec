"""Where Django is seen: its connections as they are made, and an execute wrapper on each of them.

https://docs.djangoproject.com/en/stable/topics/db/instrumentation/
"""

from __future__ import annotations

import weakref
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.instruments.databases.names import sound
from otelmon.instruments.databases.pools import Counted


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.instruments.databases.pools import Instruments, Named
    from otelmon.instruments.databases.queries import Queries, System


_WATCHED: Final = "_otelmon_watched"
_NONE: Final = frozenset((None, "", "django.db.backends.dummy"))


class Watched(Counted):
    """One of Django's connections, held weakly: each thread has one for each alias.

    It is in use from its first query until the end of the request. What Django keeps after that
    (CONN_MAX_AGE) is idle.
    """

    def __init__(self, connection: Any, named: Named, system: System) -> None:  # noqa: ANN401 - Django has no types
        """Measure what goes over *connection* from now on."""
        self.named = named
        self._system = system
        self._connection = weakref.ref(connection, self._gone)
        self._open = False
        # First: those of an `execute_wrapper(...)` that is under way are taken off from the end.
        connection.execute_wrappers.insert(0, self)
        named.add(self)

    def _gone(self, _: object) -> None:
        self.named.remove(self)

    def idle(self) -> int:
        """Return 1 if it is open and not in use."""
        return int(self._open and not self.out)

    def look(self, *, ended: bool = False) -> None:
        """Take note of whether it is open; it is not in use if the request has *ended*."""
        connection = self._connection()
        self._open = connection is not None and connection.connection is not None
        if ended or not self._open:
            self.out = 0
        self.named.refresh()

    def __call__(self, execute: Callable[..., Any], sql: object, *more: object) -> Any:  # noqa: ANN401 - as above
        """Execute, and measure it."""
        if not HOOKS.on:
            return execute(sql, *more)
        if not self.out:
            self.out = 1
            self.look()
        began = perf_counter()
        try:
            result = execute(sql, *more)
        except BaseException as error:
            self._system.fail(sql, perf_counter() - began, error)
            raise
        self._system.book(sql, perf_counter() - began)
        return result


class Hooks:
    """The receivers of Django's signals; it holds them weakly, so they are methods of one object."""

    def __init__(self) -> None:
        """Receive nothing yet."""
        self.on = False
        self._pools: Instruments | None = None
        self._queries: Queries | None = None
        self._installed = False

    def observe(self, pools: Instruments, queries: Queries) -> None:
        """Record to these from now on."""
        self._pools, self._queries, self.on = pools, queries, True

    def rest(self) -> None:
        """Record nothing."""
        self.on, self._pools, self._queries = False, None, None

    def install(self) -> None:
        """Receive the signals. `django.db` must have been imported."""
        if self._installed:
            return
        self._installed = True
        from django.conf import settings
        from django.core.signals import request_finished
        from django.db.backends.signals import connection_created

        connection_created.connect(self._created, dispatch_uid="otelmon")
        # Django's own receiver, which closes what is not to be kept, was connected before.
        request_finished.connect(self._ended, dispatch_uid="otelmon")
        if settings.configured:
            for connection in _of_this_thread():
                self._watch(connection)

    def _created(self, connection: Any, **_: object) -> None:  # noqa: ANN401 - as above
        self._watch(connection)

    def _ended(self, **_: object) -> None:
        try:
            for connection in _of_this_thread() if self.on else ():
                watched = getattr(connection, _WATCHED, None)
                if watched is not None:
                    watched.look(ended=True)
        except Exception as error:  # noqa: BLE001 - the request is answered; only the figure is lost
            faults.report("django_database", error)

    def _watch(self, connection: Any) -> None:  # noqa: ANN401 - as above
        pools, queries = self._pools, self._queries
        if pools is None or queries is None:
            return
        try:
            watched = getattr(connection, _WATCHED, None)
            if (
                watched is None
                or watched.named.of is not pools
                or watched not in connection.execute_wrappers
            ):
                if watched in connection.execute_wrappers:
                    connection.execute_wrappers.remove(watched)
                named = pools.named(f"django/{sound(str(connection.alias))}")
                watched = Watched(connection, named, queries.of(connection.vendor))
                setattr(connection, _WATCHED, watched)
            watched.look()
        except Exception as error:  # noqa: BLE001 - as above
            faults.report("django_database", error)


def may_ask() -> bool:
    """Tell if the project has a database; without settings yet, it may get one."""
    from django.conf import settings

    if not settings.configured:
        return True
    engines = {each.get("ENGINE") for each in settings.DATABASES.values()}
    return not engines <= _NONE


def _of_this_thread() -> list[Any]:
    from django.db import connections

    return list(connections.all(initialized_only=True))


HOOKS: Final = Hooks()
