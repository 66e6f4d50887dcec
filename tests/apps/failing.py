"""An application with which otelmon fails on demand, under monitor().

/fault/NAME reports a failure of kind NAME at once, /at-exit/NAME when its worker ends.
"""

from __future__ import annotations

import atexit
from functools import partial
from typing import TYPE_CHECKING

from otelmon import faults, monitor
from tests.apps.answers import PlannedError, tagged


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer by the first part of the path; the second is its argument."""
    name, _, kind = str(environ["PATH_INFO"])[1:].partition("/")
    if name == "fault":
        faults.report(kind, PlannedError())
    elif name == "at-exit":
        atexit.register(partial(faults.report, kind, PlannedError()))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


app = tagged(monitor(application))
