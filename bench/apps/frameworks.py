"""The least application of each framework: one route with a number in it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import bottle
import django
import falcon
import flask
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response


with warnings.catch_warnings():
    # WebOb and setuptools, which Pyramid imports, warn of what they do themselves.
    warnings.simplefilter("ignore")
    from pyramid.config import Configurator
    from pyramid.response import Response as PyramidResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


urlpatterns = [path("orders/<int:number>", lambda _, number: HttpResponse(str(number)))]


def django_app() -> WSGIApplication:
    """Return Django's handler, without middlewares."""
    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
        django.setup()
    return get_wsgi_application()  # type: ignore[no-any-return]


def _order(number: int) -> str:
    return str(number)


def flask_app() -> WSGIApplication:
    """Return a Flask application."""
    app = flask.Flask(__name__)
    app.add_url_rule("/orders/<int:number>", "order", _order)
    return app


def bottle_app() -> WSGIApplication:
    """Return a Bottle application."""
    app = bottle.Bottle()
    app.route("/orders/<number:int>", callback=_order)
    return app  # type: ignore[no-any-return]


class _Order:
    def on_get(self, _: falcon.Request, resp: falcon.Response, number: int) -> None:
        resp.text = str(number)


def falcon_app() -> WSGIApplication:
    """Return a Falcon application."""
    app = falcon.App()
    app.add_route("/orders/{number:int}", _Order())
    return app


def pyramid_app() -> WSGIApplication:
    """Return a Pyramid application."""
    with Configurator() as config:
        config.add_route("order", "/orders/{number}")
        config.add_view(
            lambda request: PyramidResponse(request.matchdict["number"]), route_name="order"
        )
        app: WSGIApplication = config.make_wsgi_app()
        return app


class _WerkzeugApp:
    def __init__(self) -> None:
        self.url_map = Map([Rule("/orders/<int:number>", endpoint="order")])

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _, values = self.url_map.bind_to_environ(Request(environ)).match()
        response: Any = Response(str(values["number"]))
        answer: Iterable[bytes] = response(environ, start_response)
        return answer


APPS: Final[Mapping[str, Callable[[], WSGIApplication]]] = {
    "Flask": flask_app,
    "Django": django_app,
    "Bottle": bottle_app,
    "Falcon": falcon_app,
    "Pyramid": pyramid_app,
    "werkzeug": _WerkzeugApp,
}
"""By framework: what makes an application of it"""
