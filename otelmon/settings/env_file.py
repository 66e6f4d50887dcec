"""A `.env` file: what it sets, without its comments."""

from __future__ import annotations

import os
from io import StringIO
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from otelmon.errors import ConfigError


if TYPE_CHECKING:
    from pathlib import Path


def read_env_file(path: Path) -> dict[str, str]:
    """Return what a `.env` file sets.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text") from None
    if "\0" in text:
        raise _unreadable(path, "it is not UTF-8 text")
    # No interpolation: a $ in a password is a $.
    found = dotenv_values(stream=StringIO(text), interpolate=False)
    return {name: value for name, value in found.items() if value is not None}


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"The env file {str(path)!r} cannot be read: {reason}.")


def take_env_file(path: Path) -> None:
    """Set in this process, and for those that it starts, what a `.env` file sets.

    Raises:
        ConfigError: it cannot be read.
    """
    os.environ.update(read_env_file(path))
