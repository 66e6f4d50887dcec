"""An application made of werkzeug alone: its own `url_map`, its own dispatch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from otelmon import monitor
from tests.apps.bodies import PlannedError


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Shop:
    """The application."""

    def __init__(self) -> None:
        """Know its rules."""
        self.url_map = Map(
            [
                Rule("/u/<int:number>", endpoint="user", methods=["GET"]),
                Rule("/gone/<word>", endpoint="gone"),
                Rule("/raise", endpoint="raise"),
                Rule("/stream", endpoint="stream"),
                Rule("/midway", endpoint="midway"),
                Rule("/file", endpoint="file"),
                Rule("/slashed/", endpoint="stream"),
                Rule("/old", redirect_to="u/1", endpoint="old"),
            ]
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        request = Request(environ)
        adapter = self.url_map.bind_to_environ(request)
        # To ask for another path says nothing of this request's.
        assert adapter.test("/stream")
        try:
            endpoint, values = adapter.match()
            response = getattr(self, f"on_{endpoint}")(request, **values)
        except HTTPException as error:
            response = error
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def on_user(self, _: Request, number: int) -> Response:
        """Answer."""
        return Response(str(number))

    def on_gone(self, _: Request, word: str) -> Response:
        """Be found, and find nothing."""
        raise NotFound(word)

    def on_raise(self, _: Request) -> Response:
        """Fail."""
        raise PlannedError

    def on_stream(self, _: Request) -> Response:
        """Answer piece by piece."""
        return Response(iter(["one", "two"]))

    def on_midway(self, _: Request) -> Response:
        """Fail amid the body."""

        def pieces() -> Iterator[str]:
            yield "one"
            raise PlannedError

        return Response(pieces())

    def on_file(self, request: Request) -> Response:
        """Send this file."""
        opened: Any = Path(__file__).open("rb")  # noqa: SIM115 - the server closes it
        response = Response(wrap_file(request.environ, opened), direct_passthrough=True)
        response.content_length = Path(__file__).stat().st_size
        return response


def create_app() -> Shop:
    """Return the application."""
    return Shop()


def observed() -> WSGIApplication:
    """Return the application as a server gets it, measured."""
    return monitor(create_app())
