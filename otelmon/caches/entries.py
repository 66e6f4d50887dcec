"""What is kept of a value: JSON, with when it was made and for which state of its namespace.

Whatever else stands there (a pickle, a broken text, another type) is no entry. Reading one runs no
code, because JSON has none.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, Final, NamedTuple


_VERSION: Final = 1
# Clocks of machines differ; what was made later than that was made by nobody.
_AHEAD_SECONDS: Final = 60.0
_DIGEST_BYTES: Final = 16


class Place(NamedTuple):
    """Where a value, its namespace's state and the right to make it lie, whatever their names hold."""

    value: str
    namespace: str
    lock: str


class Entry(NamedTuple):
    """A value that was kept."""

    value: Any
    at: float  # Unix time
    state: str
    """Of its namespace when it was looked up: another one now means that it was invalidated"""


def place(cache: str, namespace: str, key: str) -> Place:
    """Return the place of a key; equal for equal texts only, and of a bounded length.

    *cache* is what the names of all its places begin with.
    """
    space = _digest(namespace)
    value = _digest(f"{space}{key}")
    return Place(f"{cache}:v:{value}", state_key(cache, namespace), f"{cache}:l:{value}")


def state_key(cache: str, namespace: str) -> str:
    """Return where the state of a namespace lies."""
    return f"{cache}:n:{_digest(namespace)}"


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()


def as_json(value: object) -> str:
    """Return a value as text.

    Raises:
        TypeError, ValueError, RecursionError: JSON has no such value.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def from_json(text: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what a text says."""
    return json.loads(text)


def encode(value: str, at: float, state: str) -> str:
    """Return an entry as text; *value* is one already."""
    return f'{{"v":{_VERSION},"at":{at!r},"state":{json.dumps(state)},"value":{value}}}'


def decode(data: str | bytes, now: float) -> Entry:
    """Return the entry in *data*.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("What the cache has is no JSON.") from error
    if not isinstance(found, dict) or found.get("v") != _VERSION or "value" not in found:
        raise ValueError("What the cache has is no entry.")
    at, state = found.get("at"), found.get("state")
    if isinstance(at, float) and isinstance(state, str) and 0 < at < now + _AHEAD_SECONDS:
        return Entry(found["value"], at, state)
    raise ValueError("What the cache has was made at no time, or for no state.")
