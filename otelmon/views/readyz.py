"""`/readyz`: whether the instance takes requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otelmon.views.response import OK, as_json


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from otelmon.views.response import Response
    from otelmon.views.source import Source


def readyz(source: Source, _environ: WSGIEnvironment) -> Response:
    """Answer 503 from SIGTERM on."""
    if _is_ready(source):
        return as_json({"status": "ok"}, status=OK)
    return as_json({"status": "draining"}, status="503 Service Unavailable")


def _is_ready(source: Source) -> bool:
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
