"""What constructors are given, of whatever type: callers need not be checked by a tool."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from otelmon.errors import ConfigError
from otelmon.settings.settings import Settings
from otelmon.settings.text import shown


def refuse(problems: Iterable[str]) -> None:
    """Raise ConfigError with all *problems*, if there are any."""
    if found := [*problems]:
        raise ConfigError(*found)


def problems_of(app: object, settings: object, **switches: object) -> Iterable[str]:
    """Yield what is wrong with what all middlewares take; *switches* by their names."""
    if not callable(app):
        yield f"app is {shown(app)}: give a WSGI application, called with environ and start_response."
    yield from wrong_settings(settings)
    for name, value in switches.items():
        if not isinstance(value, bool):
            yield f"{name} is {shown(value)}: give True or False."


def wrong_settings(settings: object) -> Iterable[str]:
    """Yield what is wrong with what everything takes as settings."""
    if settings is not None and not isinstance(settings, Settings):
        yield f"settings is {shown(settings)}: give Settings, as of Settings.from_env(), or None."


def listed(name: str, value: object, *, example: str) -> tuple[Any, ...]:
    """Return what is in a list, or in anything like it; *example* is one.

    Raises:
        ConfigError: it is none; one text is none, whose letters nobody means.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | bytearray | Mapping):
        raise ConfigError(f"{name} is {shown(value)}: give a list, as in {example}.")
    return tuple(value)


def is_number(value: object) -> bool:
    """Tell whether it is one, which True is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_encodable(text: str) -> bool:
    """Tell whether UTF-8 can hold a text; half a surrogate is none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def wrong_server(url: object, client: object = None) -> Iterable[str]:
    """Yield what is wrong with what is to be Redis's address, or redis-py's client."""
    if not isinstance(url, str | None):
        # Not shown, as it may hold a password.
        yield "url is no text: give an address such as redis://localhost:6379/0, or None."
    if client is not None and not is_redis(client):
        yield f"client is {shown(client)}: give a redis.Redis, or None."


def is_redis(value: object) -> bool:
    """Tell whether a value works as redis-py's client does, which one of asyncio does not."""
    register = getattr(value, "register_script", None)
    ask = getattr(value, "execute_command", None)
    is_one = callable(register) and callable(ask) and hasattr(value, "connection_pool")
    return is_one and not isinstance(value, type) and not inspect.iscoroutinefunction(ask)
