"""The route of a request: the template that its URL matched, never the URL itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


ROUTE: Final = "otelmon.route"
UNMATCHED: Final = "{unmatched}"


def set_route(environ: WSGIEnvironment, template: str | None) -> None:
    """Name the route of a request, such as `/orders/<id>`.

    For applications whose framework otelmon does not know; call it before the response body ends.
    *template* must come from the application's code, never from the request: every new one is a
    new series. What is no text is taken as its text; None leaves the route to the framework again.
    """
    if template is None:
        environ.pop(ROUTE, None)
    else:
        environ[ROUTE] = str(template)


def matched(environ: WSGIEnvironment) -> str | None:
    """Return the route as far as *environ* tells it at the moment of `start_response`.

    werkzeug's request, and so Flask's, is there until the application returns.
    """
    request = environ.get("werkzeug.request")
    if request is None:
        return None
    rule = getattr(request, "url_rule", None)
    return None if rule is None else str(rule.rule)
