"""Settings under names that the application may own, read and judged only by the part they serve.

`REDIS_URL`, `MAX_CONTENT_LENGTH` or `SESSION_LIFETIME` may mean something else to the application,
with values otelmon would refuse; that must not stop an application that uses none of these parts.
"""

# ruff: noqa: RUF009 - variable() returns a dataclass field, made for each declaration

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from otelmon.settings.rules import (
    RATE,
    SECRET,
    SWITCH,
    TEXT,
    Off,
    Rate,
    each,
    matching,
    number,
    or_off,
    url,
    whole,
)
from otelmon.settings.text import shown, shown_scheme
from otelmon.settings.variables import Group, names, nearest, set_in, variable


Owned = TypeVar("Owned", bound=Group)


@dataclass(frozen=True, kw_only=True, slots=True)
class Database(Group):
    """The connection pool of each worker, as SQLAlchemy understands it."""

    pool_size: int = variable(
        "DB_POOL_SIZE", 10, whole("connections", 0), "Connections kept open; 0 for no limit."
    )
    max_overflow: int = variable(
        "DB_MAX_OVERFLOW", 20, whole("connections", -1), "Connections above it; -1 for no limit."
    )
    pool_timeout: float = variable(
        "DB_POOL_TIMEOUT", 30.0, number("seconds", 0), "Seconds to wait for a free connection."
    )
    pool_recycle: int = variable(
        "DB_POOL_RECYCLE", 3600, whole("seconds", -1), "Seconds a connection lives; -1 for ever."
    )
    pool_pre_ping: bool = variable(
        "DB_POOL_PRE_PING", True, SWITCH, "Test a connection before it is handed out."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Bodies(Group):
    """How much a client may send at once."""

    max_content_length: int | Off = variable(
        "MAX_CONTENT_LENGTH", 16_777_216, or_off(whole("bytes", 0)), "Bytes of a request's body."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(Group):
    """How often a client may ask, and who it is."""

    rate_limit: Rate | Off = variable(
        "RATE_LIMIT", Rate(100, 60), or_off(RATE), "Requests of a client in a stretch of time."
    )
    trusted_proxies: int | None = variable(
        "TRUSTED_PROXIES",
        None,
        whole("hops", 0),
        "Proxies whose X-Forwarded-For entry is believed; 0: REMOTE_ADDR alone. Unset: clients behind one are not limited.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sessions(Group):
    """Sessions of the application's users."""

    lifetime: float = variable(
        "SESSION_LIFETIME",
        86_400.0,
        number("seconds", 1),
        "Seconds that a session lives after its last request.",
    )
    secrets: tuple[str, ...] = variable(
        "SESSION_SECRET",
        (),
        each(SECRET, "secrets separated by commas, all in quotes if a # follows a space in them"),
        "Keys that sign: the first signs, all are believed; none means no sessions.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Static(Group):
    """Static files."""

    root: str | None = variable(
        "STATIC_ROOT", None, TEXT, "Directory of the static files; unset: none are served."
    )
    prefix: str = variable(
        "STATIC_PREFIX",
        "/static/",
        matching(r"/(\S*/)?", "a path like /static/"),
        "Path below which they are served.",
    )
    max_age: int = variable(
        "STATIC_MAX_AGE", 31_536_000, whole("seconds", 0), "Seconds a hashed name is cached."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Redis(Group):
    """The Redis server of limits, sessions and caches."""

    url: str | None = variable(
        "REDIS_URL",
        None,
        url("redis", "rediss", "unix"),
        "Address of the Redis server; unset: none is used.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo(Group):
    """The shop of `otelmon demo`."""

    database_url: str | None = variable(
        "DATABASE_URL",
        None,
        replace(
            matching(
                r"[A-Za-z][A-Za-z0-9_+]*://\S*",
                "an address for SQLAlchemy like postgresql+psycopg://host/name",
            ),
            show=shown_scheme,
        ),
        "Database of the demo's orders; unset: a file of SQLite.",
    )


_used: set[type[Group]] = set()


def use(group: type[Owned], environ: Mapping[str, str]) -> Owned:
    """Return a group for the part that goes by it, and note that there is one.

    Raises:
        ConfigError: the group cannot be used.
    """
    found = group.read(environ)
    _used.add(group)
    return found


def used() -> frozenset[str]:
    """Return the variables that a part of otelmon goes by in this process."""
    return frozenset(names(*_used))


OWNED: Final = (Database, Bodies, Limits, Sessions, Static, Redis, Demo)


def owned_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return those of *environ*, only what is set."""
    return {name: environ[name] for name in set_in(environ, names(*OWNED))}


def unfit(owned: object) -> Iterable[str]:
    """Yield a sentence for each problem of what is given as such; values are judged where used."""
    if not isinstance(owned, Mapping):
        yield f"owned is {shown(owned)}: give texts by variable, as in {{'RATE_LIMIT': 'off'}}."
        return
    known = names(*OWNED)
    for name, text in owned.items():
        if name not in known:
            like = nearest(str(name), known)
            yield f"owned has {shown(name)}, which is none of these; the nearest known name is {like}."
        elif not isinstance(text, str):
            yield f"{name} in owned is no text: give it as the variable would hold it."
