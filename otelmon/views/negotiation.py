"""Which of our formats and encodings a client would rather have.

Nobody is refused over a header: whatever cannot be read counts as not sent.
"""

from __future__ import annotations

from typing import NamedTuple


class _Range(NamedTuple):
    value: str  # lower case, such as text/plain or gzip
    parameters: dict[str, str]
    quality: float


def prefers_openmetrics(accept: str) -> bool:
    """Tell whether OpenMetrics 1.0 is asked for by name, and no less than plain text."""
    ranges = _parsed(accept)
    openmetrics = _best(ranges, "application/openmetrics-text", version="1.0.0")
    if not openmetrics:
        return False
    # The most specific range counts.
    named = (
        _best(ranges, "text/plain", version="0.0.4"),
        _best(ranges, "text/*"),
        _best(ranges, "*/*"),
    )
    return openmetrics >= next((quality for quality in named if quality is not None), 0.0)


def prefers_health_json(accept: str) -> bool:
    """Tell whether `application/health+json` is asked for by name, and no less than plain JSON."""
    ranges = _parsed(accept)
    health = _best(ranges, "application/health+json")
    if not health:
        return False
    named = _best(ranges, "application/json")
    return named is None or health >= named


def takes_gzip(accept_encoding: str) -> bool:
    """Tell whether a body may be sent in gzip."""
    ranges = _parsed(accept_encoding)
    found = [each.quality for each in ranges if each.value in ("gzip", "x-gzip")]
    if not found:
        found = [each.quality for each in ranges if each.value == "*"]
    return max(found, default=0.0) > 0


def _best(ranges: list[_Range], value: str, *, version: str | None = None) -> float | None:
    """Return the highest quality of *value*, in any or in this *version*; None if not named."""
    return max(
        (
            each.quality
            for each in ranges
            if each.value == value and each.parameters.get("version", version) == version
        ),
        default=None,
    )


def _parsed(header: str) -> list[_Range]:
    ranges = (_range(*each.split(";")) for each in header.lower().split(","))
    return [each for each in ranges if each is not None]


def _range(value: str, *parts: str) -> _Range | None:
    pairs = (part.partition("=") for part in parts)
    parameters = {key.strip(): text.strip().strip('"') for key, _, text in pairs}
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        return None
    return _Range(value.strip(), parameters, quality) if 0 <= quality <= 1 else None
