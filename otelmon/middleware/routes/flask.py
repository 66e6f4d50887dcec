"""Flask's route for requests that end in an exception.

Every other request shows its route in `start_response`; one whose exception leaves the application
never gets there, and Flask has forgotten the route by then.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from otelmon.middleware.routes import ROUTE


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def attach(app: WSGIApplication) -> None:
    """Keep the route of failing requests, if *app* is a Flask application or its `wsgi_app`."""
    flask = sys.modules.get("flask")
    if flask is None:
        return
    for found in (app, getattr(app, "__self__", None)):
        if isinstance(found, flask.Flask):
            # The signal is sent while the request is still there, and only for exceptions.
            flask.got_request_exception.connect(_keep_route, found)


def _keep_route(_app: Any, **_: object) -> None:  # noqa: ANN401 - the signal's own signature
    request = sys.modules["flask"].request
    if request.url_rule is not None:
        request.environ.setdefault(ROUTE, request.url_rule.rule)
