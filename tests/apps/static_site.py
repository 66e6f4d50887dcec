"""An application behind Static, measured; what no file answers, it answers with 404 and the path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon import Static, monitor, set_route, static_url


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Name a static file, or tell that nothing is here."""
    path = environ["PATH_INFO"]
    if path.startswith("/url/"):
        set_route(environ, "/url/{name}")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [static_url(path[5:], environ).encode()]
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("X-From", "application")])
    return [b"not here"]


app = monitor(Static(application))
