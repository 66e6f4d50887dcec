"""`redis_client`: redis-py with deadlines that a request can bear."""

from __future__ import annotations

import importlib.util
import re
import sys
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from otelmon.errors import ConfigError
from otelmon.settings.arguments import refuse, wrong_server
from otelmon.settings.rules import number, whole
from otelmon.settings.text import shown
from otelmon.stack import settings_for


if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis

    from otelmon.caches.breaker import Breaker


SECONDS: Final = 0.25
"""How long a server may take to be reached, and for each part of a reply"""
FAILURES: Final = 5
OPEN_SECONDS: Final = 5.0

_FAILURES: Final = whole("failures in a row", 1)
_OPEN_SECONDS: Final = replace(
    number("seconds", sys.float_info.min), says="a number of seconds above 0"
)
_UNKNOWN: Final = re.compile(r"unexpected keyword argument '(\w+)'")

_named: weakref.WeakValueDictionary[str, Breaker] = weakref.WeakValueDictionary()


def redis_client(
    url: str | None = None,
    *,
    breaker_failures: int = FAILURES,
    breaker_seconds: float = OPEN_SECONDS,
    **options: Any,  # noqa: ANN401 - what redis-py takes
) -> redis.Redis:
    """Return a client of redis-py that fails soon, and at once where the server is known to fail.

    *url* is REDIS_URL unless given, of the settings in use. It waits 0.25 s for a connection and for a reply and does not
    try again; *options* are those of `redis.Redis.from_url` and go before, as does what the URL
    says. After *breaker_failures* failures in a row every call raises `redis.ConnectionError` at
    once; after *breaker_seconds* one call is let through, and its end decides. Blocking commands
    (BLPOP, XREAD) and subscriptions need a client with a longer `socket_timeout`. Nothing is
    connected yet, unless *options* have `single_connection_client`.

    Raises:
        ConfigError: there is no URL, redis-py is not installed, or an option cannot be used.
    """
    if importlib.util.find_spec("redis") is None:
        raise ConfigError(
            "redis_client needs redis-py, which is not installed: pip install 'otelmon[redis]'."
        )
    refuse(_problems(url, breaker_failures, breaker_seconds))
    url = url or settings_for().redis().url
    if url is None:
        raise ConfigError("redis_client has no server: give a URL, or set REDIS_URL.")
    return _made(url, breaker_failures, breaker_seconds, options)


def _problems(url: object, failures: object, seconds: object) -> Iterable[str]:
    yield from wrong_server(url)
    for name, rule, value in (
        ("breaker_failures", _FAILURES, failures),
        ("breaker_seconds", _OPEN_SECONDS, seconds),
    ):
        if not rule.holds(value):
            yield f"{name} is {shown(value)}: give {rule.says}."


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
    single = options.pop("single_connection_client", False)
    pool = _pool(url, usual | options)
    breaker = Breaker(_free_name(name_of(pool)), failures=failures, seconds=seconds)
    _named[breaker.name] = breaker
    return GuardedRedis.behind(Guard(breaker), pool, single=single)


def _pool(url: str, options: dict[str, Any]) -> redis.ConnectionPool:
    """Return a pool whose connections can be made with these options.

    Raises:
        ConfigError: it is none of a URL, or its connections take no such options.
    """
    import redis

    try:
        pool = redis.ConnectionPool.from_url(url, **options)
    except ValueError:
        # Its message may hold the URL, and that a password.
        raise ConfigError(
            "The URL for redis_client cannot be used: give redis://, rediss:// or unix://, as in "
            "redis://localhost:6379/0."
        ) from None
    except TypeError as error:
        raise _unusable(options, error) from None
    try:
        # redis-py would find out at the first command, in a request.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, AttributeError, redis.RedisError) as error:
        raise _unusable(options, error) from None
    return pool


def _unusable(options: Iterable[str], error: Exception) -> ConfigError:
    """Return the refusal, with the options' names only: values may be secret."""
    found = _UNKNOWN.search(str(error)) if isinstance(error, TypeError) else None
    named = found[1] if found else ", ".join(sorted(options))
    return ConfigError(
        f"redis-py takes no such options ({type(error).__name__}): {named}. Give those of "
        "redis.Redis.from_url, in the URL too."
    )


def _free_name(name: str) -> str:
    """Return a name that no other live breaker of this process has: each is a series of its own."""
    tried, number = name, 1
    while tried in _named:
        number += 1
        tried = f"{name} ({number})"
    return tried
