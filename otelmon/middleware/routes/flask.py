"""Flask: the rule that its request matched.

Most requests show it in `start_response`, see `matched`. Three kinds need a signal: one whose
exception leaves the application never gets there, and Flask has forgotten the rule by then; nor is
it there for a middleware that holds the answer back until Flask has returned; and one of a mounted
application does not say where it is mounted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from otelmon.middleware.routes.looking import is_made_by
from otelmon.middleware.routes.mounts import Mounts
from otelmon.middleware.routes.template import ROUTE


if TYPE_CHECKING:
    from collections.abc import Iterable


_mounts: WeakKeyDictionary[Any, Mounts] = WeakKeyDictionary()


def owns(app: object) -> bool:
    """Tell whether *app* is a Flask application."""
    return is_made_by(app, "flask", "Flask")


def attach(app: Any, prefix: str) -> None:  # noqa: ANN401 - Flask may not be installed
    """Keep the routes of *app* that `start_response` does not show."""
    flask = sys.modules["flask"]
    mounts = _mounts.setdefault(app, Mounts())
    mounts.add(prefix)
    # To connect again what is connected changes nothing. Both are sent while the request is there,
    # the first for exceptions only.
    flask.got_request_exception.connect(_keep_route, app)
    if mounts:
        flask.request_started.connect(_keep_route, app)


def tell_early(app: Any) -> None:  # noqa: ANN401 - as above
    """Have *app* name each route when it is matched, which costs a microsecond or two.

    For where something is around it: that may begin the answer when Flask has forgotten the rule.
    """
    sys.modules["flask"].request_started.connect(_keep_route, app)


def rules(app: Any) -> Iterable[str]:  # noqa: ANN401 - as above
    """Return the URL rules of *app*."""
    return [rule.rule for rule in app.url_map.iter_rules()]


def _keep_route(app: Any, **_: object) -> None:  # noqa: ANN401 - the signal's own signature
    # Each look through Flask's proxy costs a microsecond.
    request = sys.modules["flask"].request._get_current_object()  # noqa: SLF001 - werkzeug documents it
    if request.url_rule is not None:
        environ = request.environ
        environ.setdefault(ROUTE, _mounts[app].at(environ, request.url_rule.rule))
