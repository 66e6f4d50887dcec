"""A Falcon application with resources, a sink and static files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import falcon

from otelmon import monitor
from tests.apps.bodies import PlannedError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import WSGIApplication


def create_app(*, independent: bool = True) -> falcon.App[falcon.Request, falcon.Response]:
    """Return the application; *independent* says in which of Falcon's two ways middlewares run."""
    app = falcon.App(independent_middleware=independent)
    app.add_route("/u/{number:int}", User())
    app.add_route("/u/{number:int}/orders", User(), suffix="orders")
    app.add_route("/gone/{word}", Gone())
    app.add_route("/raise", Failing())
    app.add_route("/stream", Stream())
    app.add_route("/midway", Midway())
    app.add_route("/file", File())
    app.add_static_route("/static", str(Path(__file__).parent))
    app.add_sink(sink, "/sink/(?P<rest>.*)")
    return app


def observed() -> WSGIApplication:
    """Return the application as a server gets it, measured."""
    return monitor(create_app())


def sink(req: falcon.Request, resp: falcon.Response, **kwargs: str) -> None:
    """Answer whatever begins so."""
    resp.text = kwargs["rest"]


class User:
    """A resource with a second set of responders."""

    def on_get(self, _: falcon.Request, resp: falcon.Response, number: int) -> None:
        """Answer."""
        resp.text = str(number)

    def on_get_orders(self, _: falcon.Request, resp: falcon.Response, number: int) -> None:
        """Answer."""
        resp.text = f"orders of {number}"


class Gone:
    """A resource that is found, and finds nothing."""

    def on_get(self, _: falcon.Request, __: falcon.Response, word: str) -> None:
        """Be no more."""
        raise falcon.HTTPNotFound(title=word)


class Failing:
    """A resource that fails."""

    def on_get(self, _: falcon.Request, __: falcon.Response) -> None:
        """Fail."""
        raise PlannedError


class Stream:
    """A resource that answers piece by piece."""

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        """Answer."""
        resp.stream = iter([b"one", b"two"])


class Midway:
    """A resource that fails amid its body."""

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        """Answer, and fail."""
        resp.stream = self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        yield b"one"
        raise PlannedError


class File:
    """A resource that is this file."""

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        """Send it."""
        here = Path(__file__)
        resp.set_stream(here.open("rb"), here.stat().st_size)
