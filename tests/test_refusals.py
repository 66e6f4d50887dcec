"""What calls of the public API refuse at once: of another type than they take."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from sqlalchemy.ext.asyncio import create_async_engine

from otelmon import (
    ConfigError,
    DiskCheck,
    HttpCheck,
    QueryCache,
    RedisCheck,
    SqlAlchemyCheck,
    add_rule,
    observe_log,
    observe_queue,
)


if TYPE_CHECKING:
    from collections.abc import Callable


def _async_engine() -> Any:  # noqa: ANN401 - what a program without type checks may give
    return create_async_engine("postgresql+psycopg://h/shop")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SqlAlchemyCheck(None), "engine is None: give SQLAlchemy's Engine"),  # type: ignore[arg-type]
        (lambda: SqlAlchemyCheck(_async_engine()), "not of its asyncio"),
        (lambda: RedisCheck("redis://:secret@h"), "give a redis.Redis"),  # type: ignore[arg-type]
        (lambda: RedisCheck(redis.asyncio.Redis(port=1)), "not of redis.asyncio"),  # type: ignore[arg-type]
        (lambda: DiskCheck(5), "path is 5: give the path"),  # type: ignore[arg-type]
        (lambda: DiskCheck(free_bytes="5"), "free_bytes is '5': give a number of bytes"),  # type: ignore[arg-type]
        (lambda: HttpCheck(5), "give http://host:port/path"),  # type: ignore[arg-type]
        (lambda: add_rule(5), r"rule is 5: give a Rule"),  # type: ignore[arg-type]
        (lambda: QueryCache(client="redis://:secret@h"), "give a redis.Redis, or None"),  # type: ignore[arg-type]
        (lambda: QueryCache(url=5), "url is no text"),  # type: ignore[arg-type]
        (lambda: observe_queue(deque(), 5), "name is 5: give a text"),  # type: ignore[arg-type]
        (lambda: observe_log(level="LOUD"), "level is 'LOUD': give a number, or one of CRITICAL"),
        (lambda: observe_log(level=-1), "level is -1: give a number"),
        (lambda: observe_log(logger=5), "logger is 5: give a logger, its name"),  # type: ignore[arg-type]
        (lambda: observe_log(loggers="shop"), "loggers is 'shop': give a list"),
    ],
)
def test_what_cannot_be_used_is_refused_where_it_is_given(
    make: Callable[[], object], told: str
) -> None:
    """Not when it is used, and without what may be secret."""
    with pytest.raises(ConfigError, match=told) as error:
        make()
    assert "secret" not in str(error.value)
