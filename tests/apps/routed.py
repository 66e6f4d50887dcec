"""An application each of whose paths is a route of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon import monitor, set_route


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def routed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Name the path as the route, as no application should."""
    set_route(environ, environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"here"]


app = monitor(routed)
