"""A Pyramid application with routes and with a tree of resources."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from otelmon import monitor
from tests.apps.bodies import PlannedError


with warnings.catch_warnings():
    # WebOb and setuptools, which Pyramid imports, warn of what they do themselves.
    warnings.simplefilter("ignore")
    from pyramid.config import Configurator
    from pyramid.httpexceptions import HTTPNotFound
    from pyramid.response import FileResponse, Response


if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import WSGIApplication


__all__ = ["Configurator", "Response", "create_app", "observed"]


class Root:
    """The first resource."""

    def __getitem__(self, name: str) -> Document:
        """Return what is below it."""
        return {"document": Document()}[name]


class Document:
    """A resource without any below it."""


def create_app(*, resources: bool = True) -> Any:
    """Return the application, with its tree of resources or with Pyramid's default root."""
    with Configurator(root_factory=(lambda _: Root()) if resources else None) as config:
        for name, pattern, view in ROUTES:
            config.add_route(name, pattern)
            config.add_view(view, route_name=name)
        config.include(_posting, route_prefix="api")
        if resources:
            config.add_view(lambda _: Response("root"), context=Root)
            config.add_view(lambda _: Response("document"), context=Document)
            config.add_view(lambda _: Response("edit"), context=Document, name="edit")
            config.add_view(_sold, context=Document, name="sold")
        return config.make_wsgi_app()


def observed() -> WSGIApplication:
    """Return the application as a server gets it, measured."""
    return monitor(create_app())


def user(request: Any) -> Any:
    """Answer."""
    return Response(request.matchdict["number"])


def gone(request: Any) -> Any:
    """Be found, and find nothing."""
    raise HTTPNotFound(request.matchdict["word"])


def fail(_request: Any) -> Any:
    """Fail."""
    raise PlannedError


def stream(_request: Any) -> Any:
    """Answer piece by piece."""
    return Response(app_iter=iter([b"one", b"two"]))


def midway(_request: Any) -> Any:
    """Fail amid the body."""

    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise PlannedError

    return Response(app_iter=pieces())


def file(request: Any) -> Any:
    """Send this file."""
    return FileResponse(__file__, request=request)


def _sold(_request: Any) -> Any:
    raise HTTPNotFound


def _posting(config: Any) -> None:
    config.add_route("post", "buy/{what}", request_method="POST")
    config.add_view(lambda _: Response("bought"), route_name="post")


ROUTES = (
    ("user", "/u/{number}", user),
    ("gone", "/gone/{word}", gone),
    ("raise", "/raise", fail),
    ("stream", "/stream", stream),
    ("midway", "/midway", midway),
    ("file", "/file", file),
)
