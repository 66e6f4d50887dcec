"""What a session holds: a text of JSON for each key, and what has changed in it.

Reading one runs no code, because JSON has none; what is no JSON is damaged, and no session.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from otelmon.hardening.sessions.errors import RejectedError, SessionValueError


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


_MUTABLE: Final = (dict, list, tuple)
# What lies deeper is refused when it is put in, long before Python's own limit, so that what is kept
# can be read and written again from wherever the application calls.
DEEPEST: Final = 100


class Changes(NamedTuple):
    """What is to be kept."""

    texts: dict[str, str]
    """All of it, by key"""
    put: dict[str, str]
    gone: list[str]

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.put or self.gone)


def text_of(key: str, value: object) -> str:
    """Return a value as JSON.

    Raises:
        SessionValueError: JSON has no such value.
    """
    try:
        text = _encode(value)
        if isinstance(value, _MUTABLE):
            _measure(value, DEEPEST)
        return text
    except (TypeError, ValueError, RecursionError) as error:
        raise SessionValueError(
            f"session[{key!r}] is a {type(value).__qualname__} that JSON cannot hold ({error}): put in "
            "numbers, texts, true, false, None, and lists and dicts of these."
        ) from error


def check_key(key: object) -> str:
    """Return a key.

    Raises:
        SessionValueError: it is none.
    """
    if isinstance(key, str):
        try:
            key.encode()
        except UnicodeEncodeError:
            pass
        else:
            return key
    raise SessionValueError(f"A session's key is {key!r}: give a text that UTF-8 can hold.")


def value_of(text: str, *, deepest: int = DEEPEST) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what a text says.

    Raises:
        RejectedError: it is no JSON.
    """
    try:
        value = _decode(text)
        if isinstance(value, _MUTABLE):
            _measure(value, deepest)
        return value
    except (ValueError, RecursionError):
        raise RejectedError("damaged") from None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


# Made once: `json.loads` and `dumps` make one for each value.
_decode: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode
_encode: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _measure(value: Any, deepest: int) -> None:  # noqa: ANN401 - as above
    """Raise ValueError if lists and dicts lie too deep in each other."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > deepest:
            raise ValueError(f"it is nested deeper than {deepest}")
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, _MUTABLE)
        ]


def changes(data: Mapping[str, Any], texts: Mapping[str, str], put: Collection[str]) -> Changes:
    """Return what differs in *data* from the *texts* that it was read from.

    Only keys that were *put* and values that can change by themselves are looked at.

    Raises:
        SessionValueError: something in it has become what JSON cannot hold.
    """
    now = {
        key: text_of(key, value)
        if key in put or isinstance(value, _MUTABLE) or key not in texts
        else texts[key]
        for key, value in data.items()
    }
    return Changes(
        now,
        {key: text for key, text in now.items() if texts.get(key) != text},
        [key for key in texts if key not in now],
    )
