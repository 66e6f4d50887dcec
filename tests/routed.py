"""What each framework's application answers, the route of each request, and how tests ask for it."""

from __future__ import annotations

import importlib
import io
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.wsgi_driver import Measured, environ


if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed.wsgi import WSGIApplication


Answers = dict[tuple[str, str], tuple[str, int]]

NONE: Final = "{unmatched}"


def _answers(user: str, gone: str, more: Mapping[str, tuple[str, int]]) -> Answers:
    """Return what all answer, and what one answers *more* or differently."""
    found = {
        "GET /u/1": (user, 200),
        "GET /u/2": (user, 200),
        "GET /u/1/2": (NONE, 404),
        "GET /missing": (NONE, 404),
        "GET /": (NONE, 404),
        "POST /u/1": (NONE, 405),
        "GET /gone/one": (gone, 404),
        "GET /gone/two": (gone, 404),
        "GET /raise": ("/raise", 500),
        "GET /stream": ("/stream", 200),
        "GET /file": ("/file", 200),
        **more,
    }
    return {_request(key): answer for key, answer in found.items()}


def _request(text: str) -> tuple[str, str]:
    method, path = text.split()
    return method, path


_DJANGO: Final = {
    # Django knows no methods: the view answered.
    "POST /u/1": ("/u/<int:number>", 405),
    "GET /": ("/", 200),
    "HEAD /shop/basket/3": ("/shop/basket/<slug:name>", 200),
    "POST /shop/basket/3": ("/shop/basket/<slug:name>", 405),
    "GET /shop/orders/3/": ("/shop/orders/<int:number>/", 200),
    "GET /shop/archive/ab": ("/shop/archive/(?P<word>[a-z]+)$", 404),
    "GET /en/basket": ("/<slug:name>/basket", 200),
    "GET /year/2020/": ("/year/(?P<number>[0-9]{4})/$", 200),
    # CommonMiddleware redirects it before anything is resolved.
    "GET /shop/orders/3": (NONE, 301),
}
_BOTTLE: Final = {
    "HEAD /u/1": ("/u/<number:int>", 200),
    "GET /merged/u/1": ("/merged/u/<number:int>", 200),
    "GET /merged/missing": (NONE, 404),
    "GET /apart": ("/apart", 200),
    "GET /apart/u/1": ("/apart/<:re:.*>", 200),
}
_FALCON: Final = {
    "OPTIONS /u/1": ("/u/{number:int}", 200),
    "GET /u/1/orders": ("/u/{number:int}/orders", 200),
    "DELETE /u/1/orders": (NONE, 405),
    "GET /sink/a/b": ("/sink/(?P<rest>.*)", 200),
    "GET /static/plain.py": ("/static/{path}", 200),
    "GET /static/none.py": ("/static/{path}", 404),
}
_PYRAMID: Final = {
    "POST /u/1": ("/u/{number}", 200),
    "GET /": ("{Root}", 200),
    "GET /document": ("{Document}", 200),
    "GET /document/edit": ("{Document}", 200),
    "GET /document/sold": ("{unmatched}", 404),
    "GET /document/missing": (NONE, 404),
    "GET /missing/missing": (NONE, 404),
    "POST /api/buy/book": ("/api/buy/{what}", 200),
    "GET /api/buy/book": (NONE, 404),
}
_WERKZEUG: Final = {
    "HEAD /u/1": ("/u/<int:number>", 200),
    "GET /slashed/": ("/slashed/", 200),
    "GET /slashed": (NONE, 308),
    "GET /old": (NONE, 308),
}
_FLASK: Final[Answers] = {
    ("GET", "/shop/orders/42"): ("/shop/orders/<int:number>", 200),
    ("POST", "/shop/orders"): ("/shop/orders", 201),
    ("GET", "/shop/orders"): (NONE, 405),
    ("GET", "/missing"): (NONE, 404),
    ("GET", "/abort/404"): ("/abort/<int:code>", 404),
    ("GET", "/crash/one"): ("/crash/<word>", 500),
    ("GET", "/crash/two"): ("/crash/<word>", 500),
    ("GET", "/stream/2"): ("/stream/<int:pieces>", 200),
    ("GET", "/file"): ("/file", 200),
}

ANSWERS: Final[Mapping[str, Answers]] = {
    "bottle": _answers("/u/<number:int>", "/gone/<word>", _BOTTLE),
    "django": _answers("/u/<int:number>", "/gone/<str:word>", _DJANGO),
    "falcon": _answers("/u/{number:int}", "/gone/{word}", _FALCON),
    "flask": _FLASK,
    "pyramid": _answers("/u/{number}", "/gone/{word}", _PYRAMID),
    "werkzeug": _answers("/u/<int:number>", "/gone/<word>", _WERKZEUG),
}
"""By framework and request: the route and the status"""


def create_app(framework: str) -> WSGIApplication:
    """Return a new application of a framework, with tests.apps' routes."""
    app: WSGIApplication = importlib.import_module(f"tests.apps.{framework}_shop").create_app()
    return app


def routes(app: WSGIApplication, *paths: str, **more: str) -> list[str]:
    """Return the route of each path, asked of one measured application."""
    measured = Measured(app)
    counted: list[Counter[str]] = [Counter()]
    for path in paths:
        measured.ask(environ("GET", path, **{"wsgi.errors": io.StringIO(), **more}))
        counted.append(Counter())
        for row in measured.rows():
            counted[-1][row.route] += row.times
    return [
        route
        for before, after in itertools.pairwise(counted)
        for route in (after - before).elements()
    ]


def a_path(framework: str) -> tuple[str, str]:
    """Return a path that a framework's application answers, and its template."""
    return next(
        (path, route)
        for (method, path), (route, status) in ANSWERS[framework].items()
        if (method, status) == ("GET", 200) and path != route
    )
