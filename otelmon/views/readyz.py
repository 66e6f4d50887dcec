"""`/readyz`: whether the instance takes requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from otelmon.checks.results import not_ready
from otelmon.views.monitoring import checked
from otelmon.views.response import OK, UNAVAILABLE, as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.views.response import Response
    from otelmon.views.source import Source


def readyz(source: Source, environ: WSGIEnvironment) -> Response:
    """Answer 503 from SIGTERM on, and while a check for readiness is down or was never asked.

    `?verbose` names these checks.
    """
    if not _takes_requests(source):
        return as_json({"status": "draining"}, status=UNAVAILABLE)
    waits_for = not_ready(checked(source))
    said: dict[str, Any] = {"status": "not ready" if waits_for else "ok"}
    if "verbose" in parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True):
        said["not_ready"] = waits_for
    return as_json(said, status=UNAVAILABLE if waits_for else OK)


def _takes_requests(source: Source) -> bool:
    """Tell whether a worker lives that is not about to end.

    What the others say is as old as their last beat; what this process knows of itself is of now.
    Before it serves there is only that: then this very request shows that it takes some.
    """
    draining, own = source.draining(), os.getpid()
    reading = source.reading()
    if reading is None:
        return not draining
    return any(
        not (draining if worker.pid == own else worker.draining) for worker in reading.workers
    )
