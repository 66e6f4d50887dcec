"""Queries of SQLAlchemy: listeners to the dialects' `do_execute` and its twins.

A listener does itself what it is told of, times it, and says that it is done; whoever listens after
it is asked by it, as the engine would. Any listener to an event of connections costs ten times as
much, because then all of those are fired.
"""

from __future__ import annotations

from operator import attrgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otelmon.instruments.databases.queries import Queries, System

    Listener = Callable[..., bool | None]


class Systems:
    """What books the queries to each kind of database."""

    def __init__(self) -> None:
        """Book nothing yet."""
        self.book_to(None)

    def book_to(self, queries: Queries | None) -> None:
        """Book to *queries* from now on, None for nowhere."""
        self._queries = queries
        self.known: dict[str, System] = {}

    def find(self, name: str) -> System | None:
        """Return what books the queries to a kind of database; None while nothing observes."""
        # In this order: what was found in the old place must not be kept in the new one.
        known, queries = self.known, self._queries
        if queries is None:
            return None
        return known.setdefault(name, queries.of(name))

    def listeners(self) -> dict[str, Listener]:
        """Return what is to listen to each event."""
        return {
            "do_execute": _executing(self),
            "do_executemany": _executing_rarely(self, "do_executemany"),
            "do_execute_no_params": _executing_rarely(self, "do_execute_no_params"),
        }


def _executing(systems: Systems) -> Listener:
    """Return the listener to `do_execute`, which is called for nearly every query.

    So it has no part that could be spared, and names what it needs: to take the parameters as they
    come, as `_executing_rarely` does, costs a microsecond.
    """

    def executing(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:  # noqa: ANN401 - any driver's
        dialect = context.dialect
        system = systems.known.get(dialect.name) or systems.find(dialect.name)
        if system is None:
            return None
        found = dialect.dispatch.do_execute
        try:
            # As its length tells, at less than half the cost.
            others = len(found.parent_listeners) > 1 or found.listeners
        except AttributeError:
            others = len(found) > 1
        began = perf_counter()
        try:
            if not (others and _others(found, executing, cursor, statement, parameters, context)):
                dialect.do_execute(cursor, statement, parameters, context)
        except BaseException as error:
            system.fail(statement, perf_counter() - began, error)
            raise
        system.book(statement, perf_counter() - began)
        # It is done: nobody else is to do it.
        return True

    return executing


def _executing_rarely(systems: Systems, name: str) -> Listener:
    """Return the same for another event, whatever that tells between statement and context."""
    of = attrgetter(name)

    def executing(cursor: Any, statement: str, *more: Any) -> bool | None:  # noqa: ANN401 - as above
        dialect = more[-1].dialect
        system = systems.known.get(dialect.name) or systems.find(dialect.name)
        if system is None:
            return None
        began = perf_counter()
        try:
            if not _others(of(dialect.dispatch), executing, cursor, statement, *more):
                of(dialect)(cursor, statement, *more)
        except BaseException as error:
            system.fail(statement, perf_counter() - began, error)
            raise
        system.book(statement, perf_counter() - began)
        return True

    return executing


def _others(found: Iterable[Any], ours: object, *executed: Any) -> bool:  # noqa: ANN401 - as above
    """Ask those that come after us, as the engine would; tell if one of them has done it."""
    after = list(found)
    return any(listen(*executed) for listen in after[after.index(ours) + 1 :])
