"""The environment of the demo's server: the user's own, a file of it, and one default."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from otelmon.demo.errors import DemoError
from otelmon.settings import value_in


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_DEFAULTS = {"ENABLE_PROMETHEUS": "true"}


def read_env_file(path: Path) -> dict[str, str]:
    """Return what a `.env` file sets, without its comments; DemoError if it cannot be read."""
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


def _unreadable(path: Path, reason: str) -> DemoError:
    return DemoError(f"The env file {str(path)!r} cannot be read: {reason}.")


def server_environment(own: Mapping[str, str], file: Mapping[str, str]) -> dict[str, str]:
    """Return the server's environment: *file* goes before the user's *own*, both before ours.

    A variable that is set to nothing counts as unset, as everywhere in otelmon.
    """
    merged = {**own, **file}
    for name, value in _DEFAULTS.items():
        if not value_in(merged.get(name, "")).strip():
            merged[name] = value
    return merged
