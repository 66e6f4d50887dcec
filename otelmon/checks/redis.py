"""A Redis server, asked as the application's client would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelmon.errors import ConfigError
from otelmon.settings.arguments import is_redis
from otelmon.settings.text import shown


if TYPE_CHECKING:
    import redis


class RedisCheck:
    """`PING` over a connection made for it with the address, credentials and deadlines of *client*.

    A connection of its own, because one of the client's may belong to another thread's event loop.
    """

    def __init__(self, client: redis.Redis) -> None:
        """Ask nothing yet.

        Raises:
            ConfigError: *client* is none of redis-py's, or one of redis.asyncio.
        """
        if not is_redis(client):
            raise ConfigError(
                f"client is {shown(client)}: give a redis.Redis, not of redis.asyncio."
            )
        self._client = client

    def __call__(self) -> None:
        """Ask it; whatever redis-py raises says that it is down."""
        pool: Any = self._client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        try:
            connection.connect()
            connection.send_command("PING")
            connection.read_response()
        finally:
            connection.disconnect()
