"""A request leaves nothing for the garbage collector, and nothing behind."""

from __future__ import annotations

import contextlib
import gc
import io
import weakref
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelmon import faults
from tests.apps import bodies
from tests.apps.bodies import TEXT, Closing, NoIterator, PlannedError, answering
from tests.wsgi_driver import Measured, WholeFile, environ


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Trace:
    """Lies in an environ; when it is gone, so are environ and the request that refers to it."""


class MethodFile(WholeFile):
    """A file_wrapper whose close is a method, such as waitress's."""

    def __init__(self, filelike: Any) -> None:  # noqa: ANN401 - like its parent's
        """Leave close to the class."""
        self.filelike = filelike
        self.blksize = 10

    def close(self) -> None:
        """Close the file."""
        self.filelike.close()


class SlottedFile:
    """A file_wrapper that takes no attribute of ours, as one written in C may be."""

    __slots__ = ("_file",)

    def __init__(self, file: io.BytesIO) -> None:
        """Hand out *file*."""
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        """Be the file's iterator."""
        return iter(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def filing(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with a file."""
    start_response("200 OK", [("Content-Length", "15"), *TEXT])
    wrapped: Iterable[bytes] = request["wsgi.file_wrapper"](io.BytesIO(b"data of a file\n"))
    return wrapped


def drive(app: WSGIApplication, request: WSGIEnvironment) -> None:
    """Serve as a server without a cycle of its own, whose client takes two pieces."""
    sent: list[bytes] = []

    def start_response(_: str, __: object, exc_info: OptExcInfo | None = None, /) -> Any:  # noqa: ANN401
        try:
            if exc_info is not None and sent:
                assert exc_info[1] is not None
                raise exc_info[1].with_traceback(exc_info[2])
        finally:
            exc_info = None
        return sent.append

    with contextlib.suppress(BaseException):
        body: Any = app(request, start_response)
        try:
            for piece in body:
                sent.append(piece)
                if len(sent) > 2:
                    raise ConnectionResetError
        finally:
            body.close()


APPS: Final[dict[str, WSGIApplication]] = {
    "list": answering(lambda: [b"a"]),
    "long list": answering(lambda: [b"a", b"b", b"c", b"d"]),
    "generator": answering(lambda: iter([b"a", b"b"])),
    "long generator": answering(lambda: (b"x" for _ in range(10))),
    "closing": answering(lambda: Closing([b"a"])),
    "lazy": bodies.generator,
    "write": bodies.writing_first,
    "restart": bodies.restarting,
    "restart too late": bodies.restarting_late,
    "raise": bodies.raising(PlannedError),
    "abort": bodies.raising(SystemExit),
    "raise midway": bodies.breaking(PlannedError, b"a"),
    "raise in close": bodies.failing_close(PlannedError),
    "no iterator": answering(lambda: NoIterator(PlannedError)),
}


@pytest.fixture(name="uncollected")
def _uncollected() -> Iterator[None]:
    """Have no garbage collector."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("wrapper", [WholeFile, MethodFile, SlottedFile])
def test_a_file_s_request_is_freed_by_its_last_reference(wrapper: type) -> None:
    """Files and requests refer to each other only until the file is closed."""
    check_freed(filing, wrapper)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", APPS)
def test_a_request_is_freed_by_its_last_reference(name: str) -> None:
    """Environ and request are gone when the server lets go of them, without a collection."""
    check_freed(APPS[name], WholeFile)


def check_freed(app: WSGIApplication, wrapper: type) -> None:
    """Serve three requests, and see each of them go."""
    measured = Measured(app)

    for _ in range(3):
        request = environ() | {"wsgi.file_wrapper": wrapper, "test.trace": Trace()}
        trace = weakref.ref(request["test.trace"])
        drive(measured.app, request)
        del request
        assert trace() is None

    reading = measured.reading()
    assert (reading.started, reading.finished, reading.in_flight) == (3, 3, 0)
    assert faults.seen() == {}


@pytest.mark.usefixtures("uncollected")
def test_a_body_that_is_never_closed_is_freed_too() -> None:
    """A server that forgets close() leaks a request in flight, and no memory."""
    measured = Measured(answering(lambda: Closing([b"a"])))
    request = environ() | {"test.trace": Trace()}
    trace = weakref.ref(request["test.trace"])

    list(measured.app(request, lambda *_: lambda _: None))

    del request
    assert trace() is None
    assert measured.reading().in_flight == 1


def test_the_oldest_request_is_forgotten_with_its_end() -> None:
    """What is in flight is known while it is, and not after, also when requests overlap."""
    measured = Measured(answering(lambda: Closing([b"a"])))
    begun: list[Any] = [measured.app(environ(), lambda *_: lambda _: None) for _ in range(5)]
    pen = measured.ledger.pen
    assert pen is not None
    live = list(pen.live)
    assert pen.oldest() == live[0] == min(live)

    begun[0].close()
    assert pen.oldest() == live[1]
    for body in begun:
        body.close()

    assert pen.live == {}
    assert pen.oldest() == 0


def test_a_file_that_takes_no_attribute_is_booked_at_once() -> None:
    """Where close cannot be replaced, the request is booked when the application returns."""
    measured = Measured(filing)

    body: Any = measured.app(
        environ() | {"wsgi.file_wrapper": SlottedFile}, lambda *_: lambda _: None
    )

    assert type(body) is SlottedFile
    assert measured.row() == ("GET", "{unmatched}", 200, "ok", None, 1)
    body.close()
    assert measured.row().times == 1


@pytest.mark.parametrize(
    ("failure", "booked"),
    [
        (None, (200, "ok", None)),
        (BrokenPipeError, (200, "client_disconnected", None)),
        (SystemExit, (200, "aborted", "SystemExit")),
    ],
)
def test_a_file_that_could_not_be_sent_says_so(
    failure: type[BaseException] | None, booked: tuple[int, str, str | None]
) -> None:
    """A server that closes a file because it failed to send it tells why by its exception."""
    measured = Measured(filing)

    def send() -> None:
        body: Any = measured.app(environ(), lambda *_: lambda _: None)
        assert type(body) is WholeFile
        try:
            if failure is not None:
                raise failure
        finally:
            body.close()

    with contextlib.suppress(*([failure] if failure else [])):
        send()

    assert measured.row() == ("GET", "{unmatched}", *booked, 1)
