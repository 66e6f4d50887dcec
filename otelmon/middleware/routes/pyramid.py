"""Pyramid: the pattern of the route that matched, else the class of the resource that was found.

The router's `handle_request` is wrapped, as tweens wrap it: event subscribers would cost more than
ten times as much. A view's name is never told: for a path without a view it is the client's.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from otelmon.middleware.routes.looking import is_made_by
from otelmon.middleware.routes.mounts import Mounts
from otelmon.middleware.routes.template import ROUTE


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


_mounts: WeakKeyDictionary[Any, Mounts] = WeakKeyDictionary()


def owns(app: object) -> bool:
    """Tell whether *app* is a router of Pyramid."""
    return is_made_by(app, "pyramid.router", "Router")


def attach(app: Any, prefix: str) -> None:  # noqa: ANN401 - Pyramid may not be installed
    """Have *app* name the route of each request."""
    mounts = _mounts.get(app)
    if mounts is None:
        mounts = Mounts()
        app.handle_request = _naming(app.handle_request, mounts)
        _mounts[app] = mounts
    mounts.add(prefix)


def _naming(handle: Callable[[Any], Any], mounts: Mounts) -> Callable[[Any], Any]:
    at = mounts.at
    templates: dict[Any, str] = {}

    def named(request: Any) -> Any:  # noqa: ANN401 - Pyramid's classes
        try:
            return handle(request)
        finally:
            environ = request.environ
            if ROUTE not in environ:
                known = request.__dict__
                route = known.get("matched_route")
                if route is None:
                    template = _resource(known)
                elif route in templates:
                    template = templates[route]
                else:
                    template = templates[route] = _template(route.pattern)
                if template is not None:
                    environ[ROUTE] = at(environ, template)

    return named


def _template(pattern: str) -> str:
    return pattern if pattern.startswith("/") else "/" + pattern


def _resource(known: Mapping[str, Any]) -> str | None:
    """Return the class of the resource, None if the path led to none or to more than there is.

    What is left of a path is the name of a view. A default root is what Pyramid has without any.
    """
    context = known.get("context")
    if context is None:
        return None
    missing = isinstance(known.get("exception"), sys.modules["pyramid.httpexceptions"].HTTPNotFound)
    default = isinstance(context, sys.modules["pyramid.traversal"].DefaultRootFactory)
    if missing and (known.get("view_name") or default):
        return None
    return f"{{{type(context).__qualname__}}}"


def rules(app: Any) -> Iterable[str]:  # noqa: ANN401 - as above
    """Return the patterns of the routes of *app*."""
    mapper = app.routes_mapper
    return [] if mapper is None else [_template(route.pattern) for route in mapper.get_routes()]
