"""An application that counts by user: no end of series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics

from otelmon import monitor, set_route
from tests.apps.answers import tagged


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


counter = metrics.get_meter("shop").create_counter("aa")
other = metrics.get_meter("shop").create_counter("bb")


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Count forty users for each path that explodes; every path is a route."""
    path = environ["PATH_INFO"]
    if path.startswith("/explode/"):
        for number in range(40):
            counter.add(1, {"user": f"{path}{number}", "kind": "web"})
        set_route(environ, "/explode")
    else:
        other.add(1, {"path": path})
        set_route(environ, path)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


app = tagged(monitor(application))
