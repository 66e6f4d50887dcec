"""Flask, Django, Bottle, Falcon and plain WSGI behind one BodyLimit of 1000 bytes, measured.

The first part of the path names the framework; each answers with what it has read. SEEN is a file
that takes the number of bytes that each request has handed to an application, before it answers.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bottle
import django
import falcon
import flask
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from otelmon import BodyLimit, monitor
from otelmon.hardening.counted_input import BodyTooLargeError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


LIMIT = 1000
SEEN = Path(os.environ["SEEN"])  # noqa: TID251 - how a test and its application talk


class Watched:
    """A request's body that notes how much of it reached the application."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - a server's
        """Have read nothing."""
        self._stream = stream
        self.size = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a method of any kind
        """Return a method that notes what it hands out."""
        method = getattr(self._stream, name)
        return partial(self._noted, method)

    def _noted(self, method: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - as above
        found = method(*args)
        self.size += sum(map(len, found)) if isinstance(found, list) else len(found)
        return found

    def __iter__(self) -> Iterator[bytes]:
        """Hand out lines."""
        for line in self._stream:
            self.size += len(line)
            yield line


def watched(app: WSGIApplication) -> WSGIApplication:
    """Write down how many bytes *app* gets."""

    def watching(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        stream = Watched(environ["wsgi.input"])
        environ["wsgi.input"] = stream
        try:
            yield from app(environ, start_response)
        finally:
            with SEEN.open("a") as seen:
                seen.write(f"{stream.size}\n")

    return watching


flask_app = flask.Flask("limited")


@flask_app.post("/")
@flask_app.post("/upload")
def _flask() -> str:
    return str(len(flask.request.get_data()))


@flask_app.post("/form")
def _flask_form() -> str:
    return str(sum(map(len, flask.request.form.values())))


@csrf_exempt  # type: ignore[untyped-decorator]
def _django(request: Any) -> Any:  # noqa: ANN401 - Django has no types
    return HttpResponse(str(len(request.body)))


urlpatterns = [path("", _django), path("upload", _django)]
settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="made up", LOGGING_CONFIG=None
)
django.setup()
bottle_app = bottle.Bottle()


@bottle_app.post("/")  # type: ignore[untyped-decorator]
@bottle_app.post("/upload")  # type: ignore[untyped-decorator]
def _bottle() -> str:
    return str(len(bottle.request.body.read()))


class _Falcon:
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.text = str(len(req.stream.read()))


class _Bounded:
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.text = str(len(req.bounded_stream.read()))


falcon_app = falcon.App()
falcon_app.add_route("/bounded", _Bounded())
falcon_app.add_route("/", _Falcon())
falcon_app.add_route("/upload", _Falcon())


def plain(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read in the way that the path names, then answer with the number of bytes."""
    size = sum(map(len, _WAYS[environ["PATH_INFO"][1:]](environ["wsgi.input"])))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(size).encode()]


def _steps(stream: Any) -> Iterator[bytes]:  # noqa: ANN401 - a server's, here and below
    while piece := stream.read(7):
        yield piece


def _lines(stream: Any) -> Iterator[bytes]:  # noqa: ANN401
    while line := stream.readline():
        yield line


def _short_lines(stream: Any) -> Iterator[bytes]:  # noqa: ANN401
    while line := stream.readline(5):
        yield line


def _hinted(stream: Any) -> Iterator[bytes]:  # noqa: ANN401
    while lines := stream.readlines(50):
        yield from lines


def _stubborn(stream: Any) -> Iterator[bytes]:  # noqa: ANN401
    """Go on reading, whatever is raised."""
    for _ in range(50):
        try:
            yield stream.read(100)
        except BodyTooLargeError:
            continue


_WAYS: dict[str, Callable[[Any], Iterable[bytes]]] = {
    "": lambda stream: [stream.read()],
    "upload": lambda stream: [stream.read()],
    "negative": lambda stream: [stream.read(-1)],
    "huge": lambda stream: [stream.read(10**9)],
    "steps": _steps,
    "lines": _lines,
    "short-lines": _short_lines,
    "readlines": lambda stream: stream.readlines(),
    "hinted": _hinted,
    "iterated": iter,
    "stubborn": _stubborn,
    "nothing": lambda _: [],
}


def lazy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """Read when the answer has begun: `/` before its first byte, `/late` after it."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/late":
        yield b"begun "
    yield str(len(environ["wsgi.input"].read())).encode()


def caught(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read in an answer that says all went well, whatever is raised, and fails to close."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=b")])
    return _Caught(environ["wsgi.input"])


class _Caught:
    def __init__(self, stream: Any) -> None:  # noqa: ANN401
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._stream.read()
        except BodyTooLargeError:
            return
        yield b"well"


_APPS = {
    "flask": watched(flask_app),
    "django": watched(get_wsgi_application()),
    "bottle": watched(bottle_app),
    "falcon": watched(falcon_app),
    "plain": watched(plain),
    "lazy": lazy,
    "caught": caught,
}


def site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Call the application that the path names."""
    _, name, rest = environ["PATH_INFO"].split("/", 2)
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = f"/{name}", f"/{rest}"
    return _APPS[name](environ, start_response)


uploads = {f"/{name}/upload": 5000 for name in _APPS}
app = monitor(BodyLimit(site, max_bytes=LIMIT, prefixes=uploads))
