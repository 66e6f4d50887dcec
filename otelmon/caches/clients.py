"""`redis_client`: redis-py with deadlines that a request can bear."""

from __future__ import annotations

import importlib.util
import weakref
from typing import TYPE_CHECKING, Any, Final

from otelmon.errors import ConfigError
from otelmon.settings import Settings


if TYPE_CHECKING:
    import redis

    from otelmon.caches.breaker import Breaker


SECONDS: Final = 0.25
"""How long a server may take to be reached, and for each part of a reply"""
FAILURES: Final = 5
OPEN_SECONDS: Final = 5.0

_named: weakref.WeakValueDictionary[str, Breaker] = weakref.WeakValueDictionary()


def redis_client(
    url: str | None = None,
    *,
    breaker_failures: int = FAILURES,
    breaker_seconds: float = OPEN_SECONDS,
    **options: Any,  # noqa: ANN401 - what redis-py takes
) -> redis.Redis:
    """Return a client of redis-py that fails soon, and at once where the server is known to fail.

    *url* is REDIS_URL unless given. It waits 0.25 s for a connection and for a reply and does not
    try again; *options* are those of `redis.Redis.from_url` and go before, as does what the URL
    says. After *breaker_failures* failures in a row every call raises `redis.ConnectionError` at
    once; after *breaker_seconds* one call is let through, and its end decides. Blocking commands
    (BLPOP, XREAD) and subscriptions need a client with a longer `socket_timeout`. Nothing is
    connected yet.

    Raises:
        ConfigError: there is no URL, redis-py is not installed, or an option cannot be used.
    """
    if importlib.util.find_spec("redis") is None:
        raise ConfigError(
            "redis_client needs redis-py, which is not installed: pip install 'otelmon[redis]'."
        )
    if breaker_failures < 1:
        raise ConfigError(f"breaker_failures is {breaker_failures!r}: give a whole number from 1.")
    if not breaker_seconds > 0:
        raise ConfigError(f"breaker_seconds is {breaker_seconds!r}: give seconds above 0.")
    url = url or Settings.from_env().redis().url
    if url is None:
        raise ConfigError("redis_client has no server: give a URL, or set REDIS_URL.")
    return _made(url, breaker_failures, breaker_seconds, options)


def _made(url: str, failures: int, seconds: float, options: dict[str, Any]) -> redis.Redis:
    # Here, because only who uses Redis is to pay for the import.
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from otelmon.caches.breaker import Breaker
    from otelmon.caches.guarded import Guard, GuardedRedis
    from otelmon.instruments.redis_pools import name_of

    usual = {
        "socket_timeout": SECONDS,
        "socket_connect_timeout": SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    client: Any
    try:
        client = GuardedRedis.from_url(url, **(usual | options))
    except ValueError:
        # Its message may hold the URL, and that a password.
        raise ConfigError(
            "The URL for redis_client cannot be used: give redis://, rediss:// or unix://, as in "
            "redis://localhost:6379/0."
        ) from None
    breaker = Breaker(
        _free_name(name_of(client.connection_pool)), failures=failures, seconds=seconds
    )
    _named[breaker.name] = breaker
    client.guard = Guard(breaker)
    guarded: redis.Redis = client
    return guarded


def _free_name(name: str) -> str:
    """Return a name that no other live breaker of this process has: each is a series of its own."""
    tried, number = name, 1
    while tried in _named:
        number += 1
        tried = f"{name} ({number})"
    return tried
