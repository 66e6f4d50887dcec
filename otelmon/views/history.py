"""`/api/metrics/history`: what the figures were, for the last hour."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from otelmon.metrics.history import SERIES, columns
from otelmon.views.response import as_json, refusal


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.views.response import Response
    from otelmon.views.source import Source


_BAD: str = "400 Bad Request"


class _BadValueError(Exception):
    """Somebody asks for what cannot be; the text says what can."""


def history(source: Source, environ: WSGIEnvironment) -> Response:
    """Answer with all series, or those of `series=`, later than `since=`."""
    asked = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    try:
        since = _since(asked["since"][-1]) if "since" in asked else None
        names = _names(asked["series"][-1]) if "series" in asked else None
    except _BadValueError as error:
        return refusal(_BAD, str(error))
    past = source.past()
    points = past.points if past is not None else ()
    interval = source.settings.monitoring_interval
    return as_json(columns(points, interval=interval, since=since, names=names))


def _since(text: str) -> float:
    """Return the Unix time of seconds since 1970, or of ISO 8601, in UTC if it has no zone."""
    try:
        found = float(text)
    except ValueError:
        found = _of_iso(text)
    if not math.isfinite(found):
        raise _BadValueError(_SINCE)
    return found


def _of_iso(text: str) -> float:
    # In a query a plus that is not encoded is a blank.
    day, between, clock = text.partition("T")
    try:
        at = datetime.fromisoformat(day + between + clock.replace(" ", "+"))
        return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        raise _BadValueError(_SINCE) from None


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if not SERIES.keys() >= set(names):
        raise _BadValueError(_NAMES)
    return names


_SINCE: str = "since= takes seconds since 1970 or a time of ISO 8601, such as 2026-01-12T08:00:00Z."
_NAMES: str = f"series= takes names separated by commas, out of {', '.join(SERIES)}."
