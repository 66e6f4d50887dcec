"""What a request says of itself when it arrives: its size, and since when it has waited."""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from otelmon.ledger.layout import LANE_LIMIT
from otelmon.ledger.requests import SECONDS, SIZES


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.ledger.pen import Pen
    from otelmon.middleware.cells import Cells


NANOSECONDS: Final = tuple(round(bound * 1e9) for bound in SECONDS)
"""The bounds of all durations"""

_MAX_QUEUE_SECONDS: Final = 60.0
# More digits than a petabyte has are nobody's length.
_LENGTH: Final = re.compile("[0-9]{1,15}")
_STAMP: Final = re.compile(r"\s*(?:t=)?([0-9]{10,17}(?:\.[0-9]{1,9})?)\s*$")
_YEAR_2286: Final = 1e10  # seconds; ten times as many milliseconds are still in 1973


def content_length(headers: Iterable[tuple[str, str]] | None) -> int | None:
    """Return the declared length of a body in bytes, None if there is no usable one."""
    for name, value in headers or ():
        if name.lower() == "content-length":
            digits = value.strip()
            return int(digits) if _LENGTH.fullmatch(digits) else None
    return None


def queued_ns(environ: WSGIEnvironment) -> int | None:
    """Return how long a request waited since its proxy stamped it, None without a stamp.

    The header is `X-Request-Start` or `X-Queue-Start`, with or without `t=`, in seconds (nginx),
    milliseconds (Heroku) or microseconds (Apache) since 1970: the magnitude tells which. Clocks
    differ and clients lie, so the result is kept between 0 and 60 s.
    """
    stamp = environ.get("HTTP_X_REQUEST_START") or environ.get("HTTP_X_QUEUE_START")
    if not stamp:
        return None
    match = _STAMP.match(stamp)
    if match is None:
        return None
    seconds = float(match[1])
    for unit in (1e6, 1e3):
        if seconds > _YEAR_2286 * unit / 10:
            seconds /= unit
            break
    waited = time.time_ns() / 1e9 - seconds
    return round(min(max(waited, 0.0), _MAX_QUEUE_SECONDS) * 1e9)


def book_arrival(pen: Pen, cells: Cells, environ: WSGIEnvironment, queued: int | None) -> None:
    """Book how long a request was *queued* in ns, and its size, as far as they are known."""
    if queued is not None:
        at = cells.queue + bisect_left(NANOSECONDS, queued)
        counts = pen.counts  # behind the last call, see `Pen`
        counts[at] += 1
        if counts[cells.queue_sum] < LANE_LIMIT:
            counts[cells.queue_sum] += queued
    received = content_length([("content-length", environ.get("CONTENT_LENGTH", ""))])
    if received is not None:
        at = cells.request_size + bisect_left(SIZES, received)
        counts = pen.counts
        counts[at] += 1
        if counts[cells.request_size_sum] < LANE_LIMIT:
            counts[cells.request_size_sum] += received
