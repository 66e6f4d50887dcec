"""Falcon: the URI template that its router matched, or what a sink or static route was added for.

A middleware component of Falcon's own kind notes it before the responder runs, and looks at the
response: Falcon answers 405 from a responder of its own, for a route that no method of it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otelmon.middleware.routes.looking import is_made_by
from otelmon.middleware.routes.mounts import Mounts
from otelmon.middleware.routes.template import ROUTE


if TYPE_CHECKING:
    from collections.abc import Iterable


_NOT_ALLOWED: Final = "405 Method Not Allowed"


def owns(app: object) -> bool:
    """Tell whether *app* is a Falcon application."""
    return is_made_by(app, "falcon", "App")


def attach(app: Any, prefix: str) -> None:  # noqa: ANN401 - Falcon may not be installed
    """Have *app* name the route of each request."""
    naming = next((one for one in app._unprepared_middleware if isinstance(one, Naming)), None)  # noqa: SLF001 - no weak reference to an App can be had to know it by
    if naming is None:
        naming = Naming(app)
        app.add_middleware(naming)
    naming.mounts.add(prefix)


class Naming:
    """A component of Falcon's middleware."""

    def __init__(self, app: Any) -> None:  # noqa: ANN401 - as above
        """Name the routes of *app*."""
        self.mounts = Mounts()
        self._app = app

    def process_resource(self, req: Any, _resp: Any, _resource: Any, _params: Any) -> None:  # noqa: ANN401 - Falcon's classes
        """Note the template before the responder runs, which may raise."""
        if req.uri_template is not None:
            req.env[ROUTE] = self.mounts.at(req.env, req.uri_template)

    def process_response(self, req: Any, resp: Any, resource: Any, _succeeded: Any) -> None:  # noqa: ANN401 - Falcon's classes
        """Note what no responder had a part in, and forget the template where none was found."""
        if resp.status == _NOT_ALLOWED:
            req.env.pop(ROUTE, None)
        elif ROUTE not in req.env:
            template = req.uri_template if resource is not None else self._aside(req, resp)
            if template is not None:
                req.env[ROUTE] = self.mounts.at(req.env, template)

    def _aside(self, req: Any, resp: Any) -> str | None:  # noqa: ANN401 - Falcon's classes
        """Return the sink or static route that was asked, as the application gave it to Falcon."""
        if resp.complete:
            return None
        for matcher, _, is_sink in self._app._sink_and_static_routes:  # noqa: SLF001 - Falcon tells nobody
            if matcher.match(req.path):
                return str(matcher.pattern) if is_sink else matcher._prefix + "{path}"  # noqa: SLF001 - as above
        return None


def rules(app: Any) -> Iterable[str]:  # noqa: ANN401 - as above
    """Return the URI templates of *app*."""
    from falcon.inspect import inspect_routes

    return [route.path for route in inspect_routes(app)]
