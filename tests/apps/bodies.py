"""Small WSGI applications, each of which answers or fails in a way of its own.

All are clean enough for wsgiref's validator, but for what they are about.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Failure = BaseException | type[BaseException]


TEXT = [("Content-Type", "text/plain")]


class PlannedError(Exception):
    """Raised on purpose."""


class Closing:
    """A body with a close() of its own, which tells *closed* that it was called."""

    def __init__(self, pieces: Iterable[bytes], closed: Callable[[], None] = lambda: None) -> None:
        """Hand out *pieces*."""
        self._pieces = iter(pieces)
        self._closed = closed

    def __iter__(self) -> Iterator[bytes]:
        """Be its own iterator."""
        return self

    def __next__(self) -> bytes:
        """Return the next piece."""
        return next(self._pieces)

    def close(self) -> None:
        """Tell."""
        self._closed()


class NoIterator:
    """A body that cannot be begun."""

    def __init__(self, error: Failure) -> None:
        """Fail by *error*."""
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        """Fail."""
        raise self._error


def answering(
    body: Callable[[], Any],
    *,
    status: str = "200 OK",
    headers: Iterable[tuple[str, str]] = TEXT,
) -> WSGIApplication:
    """Return an application that answers with what *body* returns."""

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, list(headers))
        answer: Iterable[bytes] = body()
        return answer

    return app


def generator(_: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """Begin the response when the server asks for the first piece."""
    start_response("503 Service Unavailable", TEXT)
    yield b"late"
    yield b"r"


def writing(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Write all of it."""
    write = start_response("200 OK", list(TEXT))
    write(b"one")
    write(b"")
    write(b"two")
    return []


def writing_first(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Write a part, return the rest as a list."""
    write = start_response("200 OK", list(TEXT))
    write(b"one")
    return [b"two", b"three"]


def writing_then_raising(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Fail when the headers are sent."""
    write = start_response("200 OK", list(TEXT))
    write(b"one")
    raise PlannedError


def writing_a_number(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Write what is no bytes."""
    write = start_response("200 OK", list(TEXT))
    write(1)  # type: ignore[arg-type]
    return []


def _fail() -> None:
    raise PlannedError


def restarting(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Take the first status back before anything was sent."""
    start_response("200 OK", list(TEXT))
    try:
        _fail()
    except PlannedError:
        start_response("502 Bad Gateway", list(TEXT), sys.exc_info())
    return [b"sorry"]


def restarting_late(_: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """Take the status back when it is too late, which the server answers by raising."""
    start_response("200 OK", list(TEXT))
    yield b"begun"
    try:
        _fail()
    except PlannedError:
        start_response("502 Bad Gateway", list(TEXT), sys.exc_info())


def starting_twice(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Call start_response again without a reason, which no server takes."""
    start_response("200 OK", list(TEXT))
    start_response("404 Not Found", list(TEXT))
    return [b"never sent"]


def never_starting(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
    """Forget to call start_response."""
    return [b"lost"]


def never_starting_generator(_: WSGIEnvironment, __: StartResponse) -> Iterator[bytes]:
    """Forget it in a generator."""
    yield b"lost"


def raising(error: Failure) -> WSGIApplication:
    """Return an application that raises at once."""

    def app(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
        raise error

    return app


def raising_started(error: Failure) -> WSGIApplication:
    """Return an application that raises after start_response."""

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", list(TEXT))
        raise error

    return app


def breaking(error: Failure, *pieces: bytes) -> WSGIApplication:
    """Return an application whose body raises after *pieces*."""

    def body() -> Iterator[bytes]:
        yield from pieces
        raise error

    return answering(body)


def failing_close(error: Failure) -> WSGIApplication:
    """Return an application whose body is complete and then cannot be closed."""

    def fail() -> None:
        raise error

    return answering(lambda: Closing([b"done"], fail))
