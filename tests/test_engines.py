"""`create_engine` and `engine_options` make what the DB_POOL_* settings say, and are observed."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool, QueuePool

from otelmon import ConfigError, create_engine, engine_options
from otelmon.settings.variables import warn_once


if TYPE_CHECKING:
    from pathlib import Path


DEFAULTS = {
    "pool_size": 10,
    "max_overflow": 20,
    "pool_timeout": 30.0,
    "pool_recycle": 3600,
    "pool_pre_ping": True,
}
URLS = ["sqlite://", "sqlite:///shop.db", "postgresql+psycopg://u:p@h/shop"]


def pool_of(engine: sqlalchemy.Engine) -> dict[str, Any]:
    """Return what a pool of the kind of a queue was made with."""
    pool: Any = engine.pool
    assert isinstance(pool, QueuePool)
    return {
        "pool_size": pool.size(),
        "max_overflow": pool._max_overflow,
        "pool_timeout": pool.timeout(),
        "pool_recycle": pool._recycle,
        "pool_pre_ping": pool._pre_ping,
    }


def test_the_settings_make_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All five variables reach the pool; what the caller gives goes before them."""
    url = f"sqlite:///{tmp_path}/shop.db"
    assert pool_of(create_engine(url)) == DEFAULTS
    values = {"SIZE": "3", "TIMEOUT": "0.5  # seconds", "RECYCLE": "60", "PRE_PING": "false"}
    for name, value in values.items():
        monkeypatch.setenv(f"DB_POOL_{name}", value)
    monkeypatch.setenv("DB_MAX_OVERFLOW", "4")
    wanted = dict(zip(DEFAULTS, (3, 4, 0.5, 60, False), strict=True))
    assert pool_of(create_engine(url)) == wanted
    assert pool_of(create_engine(url, pool_size=7)) == {**wanted, "pool_size": 7}
    assert engine_options(url) == wanted


@pytest.mark.parametrize("url", URLS)
def test_every_dialect_takes_its_options(url: str) -> None:
    """SQLAlchemy itself takes what `engine_options` returns for the same address."""
    assert sqlalchemy.create_engine(url, **engine_options(url)).url == create_engine(url).url


def test_what_a_pool_refuses_is_dropped_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A memory of SQLite takes three, and none of a class of the caller's that takes two raises."""
    warn_once.cache_clear()
    monkeypatch.setenv("DB_MAX_OVERFLOW", "5")
    monkeypatch.setenv("DB_POOL_RECYCLE", "5")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert set(engine_options("sqlite://")) == {
                "pool_size",
                "pool_recycle",
                "pool_pre_ping",
            }
    assert [record.getMessage() for record in caplog.records] == [
        "DB_MAX_OVERFLOW is not used: SQLAlchemy's SingletonThreadPool has no such option."
    ]
    assert isinstance(create_engine("sqlite://", poolclass=NullPool).pool, NullPool)
    own = create_engine("sqlite:///shop.db").pool
    assert create_engine("sqlite:///shop.db", pool=own).pool is own


def test_bad_settings_are_refused_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that cannot be used is an error when it is used, naming the variable and the rule."""
    monkeypatch.setenv("DB_POOL_SIZE", "many")
    with pytest.raises(ConfigError, match="DB_POOL_SIZE is 'many': give a whole number"):
        engine_options("sqlite://")


def test_without_sqlalchemy_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no SQLAlchemy is told what to install."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"pip install 'otelmon\[sqlalchemy\]'"):
        create_engine("sqlite://")
