"""Bottle, Falcon and plain WSGI behind one harden(), measured.

The first part of the path names the framework; each counts its visits in the session and answers
with their number, and POST to its /login is limited to 5 in an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bottle
import falcon

from otelmon import Policy, harden, monitor
from tests.apps.patient_limits import wait_for_counts


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def visits(environ: Any) -> str:  # noqa: ANN401 - Bottle's has no types
    """Count a visit, and return how many there were."""
    session = environ["otelmon.session"]
    session["visits"] = session.get("visits", 0) + 1
    return str(session["visits"])


bottle_app = bottle.Bottle()


@bottle_app.route("/", method=["GET", "POST"])  # type: ignore[untyped-decorator]
@bottle_app.route("/login", method=["GET", "POST"])  # type: ignore[untyped-decorator]
def _bottle() -> str:
    return visits(bottle.request.environ)


class _Falcon:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.text = visits(req.env)

    on_post = on_get


falcon_app = falcon.App()
falcon_app.add_route("/", _Falcon())
falcon_app.add_route("/login", _Falcon())


def plain(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [visits(environ).encode()]


FRAMEWORKS: dict[str, WSGIApplication] = {
    "bottle": bottle_app,
    "falcon": falcon_app,
    "plain": plain,
}


def site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Call the application that the path names."""
    _, name, rest = environ["PATH_INFO"].split("/", 2)
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = f"/{name}", f"/{rest}"
    return FRAMEWORKS[name](environ, start_response)


wait_for_counts()
app = monitor(
    harden(
        site,
        policies=[
            Policy(name, "5/hour", paths=(f"/{name}/login",), methods=("POST",))
            for name in FRAMEWORKS
        ],
    )
)
