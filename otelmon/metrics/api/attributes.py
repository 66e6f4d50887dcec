"""Attributes as OpenTelemetry means them: in no order, each with a type.

https://opentelemetry.io/docs/specs/otel/common/#attribute
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from otelmon.ledger.instrument import Attribute, Attributes


_Plain = str | bool | int | float


def normalised(found: Mapping[Any, object], keep: AbstractSet[str] | None = None) -> Attributes:
    """Return *found* sorted by key, all keys or those to *keep*, each value of a type that is kept.

    Texts, truth values, numbers and lists of these stay what they are. Of what else the
    specification allows, bytes become base64 and mappings JSON, as in its rules for text; None
    becomes an empty text. A key that is no text, or is empty, is dropped. NaN becomes a text,
    because it equals nothing.
    """
    pairs = (
        (str(key), _value(value))
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
    """Return a value of exactly one of the types that are kept: a subclass may equal anything."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    for kind in (bool, str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return _text(value)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping | Sequence):
        return json.dumps(value, default=str, sort_keys=True)
    return str(value)
