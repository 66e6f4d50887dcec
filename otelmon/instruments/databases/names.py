"""What a pool is called where everybody may read it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Final


_LONGEST: Final = 64
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_.:@+-]")


def pool_name(engine: Any) -> str:  # noqa: ANN401 - either version's
    """Return the name of an engine's pool: what the program calls it, else system and database.

    `pool_logging_name` of `create_engine` goes first. Else it is `postgresql/shop`, for a file of
    SQLite its name without the directory. Never a host, a user, a password or an option.
    """
    chosen = getattr(engine.pool, "logging_name", None)
    if chosen:
        return sound(str(chosen))
    system, database = engine.dialect.name, engine.url.database
    if system == "sqlite":
        database = PurePosixPath(str(database or ":memory:").partition("?")[0]).name
    return sound(f"{system}") + (f"/{sound(str(database))}" if database else "")


def sound(word: str) -> str:
    """Return *word* as a label takes it."""
    return _UNUSUAL.sub("_", word)[:_LONGEST]
