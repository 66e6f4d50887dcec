"""A Django project in one module, with every kind of URL pattern that Django has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.urls import include, path, re_path
from django.views import View
from django.views.decorators.http import require_GET

from otelmon import monitor
from tests.apps.bodies import PlannedError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import WSGIApplication


def create_app() -> WSGIApplication:
    """Return Django's handler for this module's URL patterns."""
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__,
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="made up",
            # It redirects to the path with a slash before anything is resolved.
            MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
            LOGGING_CONFIG=None,
        )
        django.setup()
    return get_wsgi_application()  # type: ignore[no-any-return]


def observed() -> WSGIApplication:
    """Return the application as a server gets it, measured."""
    return monitor(create_app())


@require_GET  # type: ignore[untyped-decorator]
def user(_request: Any, number: int) -> Any:
    """Answer."""
    return HttpResponse(str(number))


def gone(_request: Any, word: str) -> Any:
    """Be found, and find nothing."""
    raise Http404(word)


def fail(_request: Any) -> Any:
    """Fail."""
    raise PlannedError


def stream(_request: Any) -> Any:
    """Answer piece by piece."""
    return StreamingHttpResponse(iter(["one", "two"]))


def midway(_request: Any) -> Any:
    """Fail amid the body."""

    def pieces() -> Iterator[str]:
        yield "one"
        raise PlannedError

    return StreamingHttpResponse(pieces())


def file(_request: Any) -> Any:
    """Send this file."""
    return FileResponse(Path(__file__).open("rb"))


class Basket(View):  # type: ignore[misc]
    """A view that is a class: GET alone."""

    def get(self, _request: Any, **_: Any) -> Any:
        """Answer."""
        return HttpResponse("basket")


def failed(_request: Any) -> Any:
    """Be the project's own page for what failed."""
    return HttpResponse("sorry", status=500)


handler500 = failed
nested = [
    path("orders/<int:number>/", user),
    re_path(r"^archive/(?P<word>[a-z]+)$", gone),
    path("basket/<slug:name>", Basket.as_view()),
]
urlpatterns = [
    path("", Basket.as_view()),
    path("u/<int:number>", user),
    path("gone/<str:word>", gone),
    path("raise", fail),
    path("stream", stream),
    path("midway", midway),
    path("file", file),
    re_path(r"^year/(?P<number>[0-9]{4})/$", user),
    path("shop/", include((nested, "shop"), namespace="shop")),
    path("<slug:name>/", include([path("basket", Basket.as_view())])),
]
