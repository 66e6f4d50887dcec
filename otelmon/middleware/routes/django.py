"""Django: the route of the URL pattern that resolved, with those of all `include()` before it.

A handler's `get_response` is wrapped, so neither MIDDLEWARE nor any other setting is touched. It
sees what Django makes of exceptions, and the match of each request that a URL pattern had.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from otelmon.middleware.routes.looking import is_made_by
from otelmon.middleware.routes.mounts import Mounts
from otelmon.middleware.routes.template import ROUTE


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


_mounts: WeakKeyDictionary[Any, Mounts] = WeakKeyDictionary()


def owns(app: object) -> bool:
    """Tell whether *app* is one of Django's WSGI handlers."""
    return is_made_by(app, "django.core.handlers.wsgi", "WSGIHandler")


def attach(app: Any, prefix: str) -> None:  # noqa: ANN401 - Django may not be installed
    """Have *app* name the route of each request."""
    mounts = _mounts.get(app)
    if mounts is None:
        mounts = Mounts()
        app.get_response = _naming(app.get_response, mounts)
        _mounts[app] = mounts
    mounts.add(prefix)


def _naming(get_response: Callable[[Any], Any], mounts: Mounts) -> Callable[[Any], Any]:
    at = mounts.at

    def named(request: Any) -> Any:  # noqa: ANN401 - Django's classes
        try:
            return get_response(request)
        finally:
            match = request.resolver_match
            environ = request.environ
            if match is not None and ROUTE not in environ:
                environ[ROUTE] = at(environ, _template(match.route))

    return named


def _template(route: str) -> str:
    """Return a route as a path: Django's have no slash in front, and regular expressions a ^."""
    return "/" + route.removeprefix("^")


def rules(_app: Any) -> Iterable[str]:  # noqa: ANN401 - as above
    """Return the routes of the URLconf, if it is loaded: to load it is the application's."""
    root = sys.modules["django.conf"].settings.ROOT_URLCONF
    if isinstance(root, str) and root not in sys.modules:
        return []
    resolver = sys.modules["django.urls"].get_resolver(root)
    return [_template(route) for route in _routes(resolver.url_patterns)]


def _routes(patterns: Iterable[Any]) -> Iterator[str]:
    for each in patterns:
        inner = getattr(each, "url_patterns", None)
        if inner is None:
            yield str(each.pattern)
        else:
            yield from (f"{each.pattern}{route}" for route in _routes(inner))
