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
    found = _flask(app)
    if found is not None:
        # The signal is sent while the request is still there, and only for exceptions.
        sys.modules["flask"].got_request_exception.connect(_keep_route, found)


def rules(app: WSGIApplication) -> set[str]:
    """Return the URL rules of *app* if it is a Flask application or its `wsgi_app`."""
    found = _flask(app)
    return set() if found is None else {rule.rule for rule in found.url_map.iter_rules()}


def _flask(app: WSGIApplication) -> Any | None:  # noqa: ANN401 - Flask may not be installed
    flask = sys.modules.get("flask")
    candidates = (app, getattr(app, "__self__", None))
    return next((each for each in candidates if flask and isinstance(each, flask.Flask)), None)


def _keep_route(_app: Any, **_: object) -> None:  # noqa: ANN401 - the signal's own signature
    request = sys.modules["flask"].request
    if request.url_rule is not None:
        request.environ.setdefault(ROUTE, request.url_rule.rule)
