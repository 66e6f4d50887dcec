"""Bottle: the rule that its router matched, read in a hook that runs whatever the route did."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from otelmon.middleware.routes.looking import is_made_by
from otelmon.middleware.routes.mounts import Mounts
from otelmon.middleware.routes.template import ROUTE


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_mounts: WeakKeyDictionary[Any, Mounts] = WeakKeyDictionary()


def owns(app: object) -> bool:
    """Tell whether *app* is a Bottle application."""
    return is_made_by(app, "bottle", "Bottle")


def attach(app: Any, prefix: str) -> None:  # noqa: ANN401 - Bottle may not be installed
    """Have *app* name the route of each request."""
    mounts = _mounts.get(app)
    if mounts is None:
        mounts = Mounts()
        app.add_hook("after_request", _naming(sys.modules["bottle"].request, mounts))
        _mounts[app] = mounts
    mounts.add(prefix)


def _naming(request: Any, mounts: Mounts) -> Callable[[], None]:  # noqa: ANN401 - as above
    at = mounts.at
    templates: dict[Any, str | None] = {}

    def name() -> None:
        environ = request.environ
        if "bottle.route" in environ and ROUTE not in environ:
            route = environ["bottle.route"]
            if route not in templates:
                # A Bottle that is mounted has said its own, or has none.
                templates[route] = None if owns(_target(route)) else route.rule
            template = templates[route]
            if template is not None:
                environ[ROUTE] = at(environ, template)

    return name


def rules(app: Any) -> Iterable[str]:  # noqa: ANN401 - as above
    """Return the rules of *app*."""
    return [route.rule for route in app.routes]


def mounted(app: Any) -> Iterable[tuple[object, str]]:  # noqa: ANN401 - as above
    """Return the applications that *app* mounts by SCRIPT_NAME, each with its prefix.

    Other Bottles become a part of *app*; then their rules have the prefix already.
    """
    targets = ((_target(route), route) for route in app.routes)
    return [
        (target, "/" + route.config["mountpoint.prefix"].strip("/"))
        for target, route in targets
        if target is not None
    ]


def _target(route: Any) -> object | None:  # noqa: ANN401 - as above
    return route.config.get("mountpoint.target")  # type: ignore[no-any-return]
