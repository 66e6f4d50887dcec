"""Attributes as OpenTelemetry means them: in no order, each with a type.

https://opentelemetry.io/docs/specs/otel/common/#attribute
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from otelmon.ledger.instrument import Attribute, Attributes


_Plain = str | bool | int | float

# What is no number of 64 bits cannot be exported, and would take along what stands beside it.
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1


def normalised(found: Mapping[Any, object], keep: AbstractSet[str] | None = None) -> Attributes:
    """Return *found* sorted by key, all keys or those to *keep*, each value of a type that is kept.

    Texts, truth values, numbers and lists of these stay what they are. Of what else the
    specification allows, bytes become base64 and mappings JSON, as in its rules for text; None
    becomes an empty text. A key that is no text, or is empty, is dropped. NaN becomes a text,
    because it equals nothing, and so does a whole number of more than 64 bits.
    """
    pairs = (
        (str.__str__(key), _value(value))
        for key, value in found.items()
        if key and isinstance(key, str) and (keep is None or key in keep)
    )
    return tuple(sorted(pairs, key=_key))


def _key(pair: tuple[str, Attribute]) -> str:
    return pair[0]


def _value(value: object) -> Attribute:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return tuple(_plain(each) for each in value)
    return _plain(value)


def _plain(value: object) -> _Plain:
    """Return a value of exactly one of the types that are kept.

    A subclass may equal anything, and may call itself otherwise: members of a `StrEnum` and of a
    `class Colour(str, Enum)` are the text that they equal.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else float.__float__(value)
    if isinstance(value, int):
        return value if isinstance(value, bool) else _whole(int.__int__(value))
    return _text(value)


def _whole(value: int) -> int | str:
    if _LEAST <= value <= _MOST:
        return value
    # Python refuses to write very long ones as decimals.
    return str(value) if value.bit_length() < 4096 else hex(value)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping | Sequence):
        return json.dumps(value, default=str, sort_keys=True)
    return str(value)
