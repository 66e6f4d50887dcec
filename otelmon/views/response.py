"""Answers of the endpoints."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NamedTuple


OK: Final = "200 OK"
UNAVAILABLE: Final = "503 Service Unavailable"
_COMMON: Final = (
    # Figures of a moment; and nothing may take JSON for something to run.
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)


class Response(NamedTuple):
    """An answer before its method is looked at."""

    status: str
    content_type: str
    body: bytes
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return all headers, a new list for each answer: servers and middlewares change it."""
        return [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            *_COMMON,
            *self.extra,
        ]


def as_json(value: Any, *, status: str = OK, extra: tuple[tuple[str, str], ...] = ()) -> Response:  # noqa: ANN401
    """Answer with *value* as compact JSON in UTF-8; what is no number becomes null."""
    return Response(status, "application/json", _dumped(value).encode("utf-8", "replace"), extra)


def refusal(status: str, error: str, *extra: tuple[str, str]) -> Response:
    """Answer with one sentence about what was wrong."""
    return as_json({"error": error}, status=status, extra=extra)


def _dumped(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    try:
        return _encode(value)
    except ValueError:
        return _encode(_finite(value))


_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _finite(value: Any) -> Any:  # noqa: ANN401 - as above
    """Replace the floats that JSON cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value
