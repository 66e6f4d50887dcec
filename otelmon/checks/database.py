"""A database, asked through the pool of connections that the application has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon import threads
from otelmon.errors import ConfigError
from otelmon.settings.text import shown


if TYPE_CHECKING:
    from sqlalchemy import Engine


class SqlAlchemyCheck:
    """`SELECT 1` over a connection of *engine*'s pool, so an exhausted pool is down too.

    It needs a connection for a moment; where none is free it waits as the application does, and
    the check's own deadline says `timeout`. Under gevent it makes a connection of its own, because
    the application's are of use in the application's thread only.
    """

    def __init__(self, engine: Engine) -> None:
        """Ask nothing yet.

        Raises:
            ConfigError: *engine* is none of SQLAlchemy's, or one of its asyncio.
        """
        if not _is_engine(engine):
            raise ConfigError(
                f"engine is {shown(engine)}: give SQLAlchemy's Engine, as of create_engine, not of "
                "its asyncio."
            )
        self._engine = engine

    def __call__(self) -> None:
        """Ask it; whatever SQLAlchemy or the driver raises says that it is down."""
        if threads.is_green():
            self._ask_beside()
            return
        # Here, because who has an engine has imported it.
        from sqlalchemy import select

        with self._engine.connect() as connection:
            connection.scalar(select(1))

    def _ask_beside(self) -> None:
        pool = self._engine.pool.recreate()
        connection = pool.connect()
        try:
            assert connection.dbapi_connection is not None
            self._engine.dialect.do_ping(connection.dbapi_connection)
        finally:
            connection.close()
            pool.dispose()


def _is_engine(value: object) -> bool:
    parts = ("connect", "dialect", "pool")
    is_one = not isinstance(value, type) and all(hasattr(value, part) for part in parts)
    return is_one and not hasattr(value, "sync_engine")
