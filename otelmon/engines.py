"""SQLAlchemy's engines as the DB_POOL_* settings say, and observed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from otelmon.errors import ConfigError
from otelmon.settings.variables import warn_once
from otelmon.stack import observe_databases, settings_for


if TYPE_CHECKING:
    from sqlalchemy import URL, Engine
    from sqlalchemy.pool import Pool

    from otelmon.settings import Settings


log = logging.getLogger("otelmon")

# Which variable an option comes from, and what a pool's class calls it.
_OPTIONS: Final = {
    "pool_size": ("DB_POOL_SIZE", "pool_size"),
    "max_overflow": ("DB_MAX_OVERFLOW", "max_overflow"),
    "pool_timeout": ("DB_POOL_TIMEOUT", "timeout"),
    "pool_recycle": ("DB_POOL_RECYCLE", "recycle"),
    "pool_pre_ping": ("DB_POOL_PRE_PING", "pre_ping"),
}


def create_engine(url: str | URL, **kw: Any) -> Engine:  # noqa: ANN401 - as SQLAlchemy's own
    """Return SQLAlchemy's engine for *url* with the pool that the DB_POOL_* settings describe.

    *kw* are the arguments of `sqlalchemy.create_engine`, and go before the settings. The engine is
    observed, like all others of the process.

    Raises:
        ConfigError: SQLAlchemy is not installed, or a DB_POOL_* setting cannot be used.
    """
    sqlalchemy = _sqlalchemy()
    observe_databases()
    options = {} if kw.get("pool") is not None else _options(url, kw.get("poolclass"))
    return sqlalchemy.create_engine(url, **{**options, **kw})  # type: ignore[no-any-return]


def engine_options(url: str | URL) -> dict[str, Any]:
    """Return the arguments for `sqlalchemy.create_engine` that the DB_POOL_* settings come to.

    For whoever makes the engine: `SQLALCHEMY_ENGINE_OPTIONS = engine_options(uri)` of
    Flask-SQLAlchemy. What the pool of *url*'s dialect does not take is left out, and the log says so
    once; a memory of SQLite takes the fewest.

    Raises:
        ConfigError: as `create_engine` does.
    """
    _sqlalchemy()
    return _options(url, None)


def _sqlalchemy() -> Any:  # noqa: ANN401 - a module, of any version
    try:
        import sqlalchemy
    except ImportError:
        raise ConfigError(
            "An engine needs SQLAlchemy, which is not installed: pip install 'otelmon[sqlalchemy]'."
        ) from None
    return sqlalchemy


def _options(url: str | URL, pool: type[Pool] | None) -> dict[str, Any]:
    from sqlalchemy import make_url
    from sqlalchemy.engine.default import DefaultDialect
    from sqlalchemy.util import get_cls_kwargs

    settings = settings_for()
    database = settings.database()
    parsed = make_url(url)
    if pool is None:
        dialect = parsed.get_dialect()
        assert issubclass(dialect, DefaultDialect)
        pool = dialect.get_pool_class(parsed)
    taken = get_cls_kwargs(pool)
    refused = [option for option, (_, called) in _OPTIONS.items() if called not in taken]
    _say(pool.__name__, [_OPTIONS[option][0] for option in refused], settings)
    return {option: getattr(database, option) for option in _OPTIONS if option not in refused}


def _say(pool: str, refused: list[str], settings: Settings) -> None:
    """Say that a pool takes less than there is; it is a warning for what somebody has set."""
    for name in refused:
        if name in settings.owned:
            warn_once(f"{name} is not used: SQLAlchemy's {pool} has no such option.")
        else:
            log.debug("%s does not apply to SQLAlchemy's %s.", name, pool)
