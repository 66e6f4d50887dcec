"""An application's answer, held back until its first byte, so that a refusal can take its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from otelmon.hardening.problem import refuse
from otelmon.hardening.refusals import RECEIVED, refused


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from otelmon.hardening.counted_input import CountedInput
    from otelmon.views.response import Response


def over(*_: Any) -> NoReturn:  # noqa: ANN401 - as WSGI has it
    """Be in the place of the server's own, which may hold what is closed: a cycle otherwise."""
    raise AssertionError("The body of this answer was closed.")


class HeldAnswer:
    """`start_response` for an application that may find that its request is too long.

    Status and headers wait here for the first piece of the body. WSGI's own way, a second
    `start_response` with an error, is no help: gunicorn 27 then sends the headers of both answers,
    two lengths and the first one's cookies among them.
    """

    __slots__ = (
        "_body",
        "_environ",
        "_first",
        "_head",
        "_input",
        "_next",
        "_refusal",
        "_refused",
        "_start_response",
        "_write",
    )

    def __init__(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        counted: CountedInput,
        refusal: Response,
    ) -> None:
        """Hold an answer back; *refusal* takes its place once *counted* has an error."""
        self._input = counted
        self._environ = environ
        self._start_response = start_response
        self._refusal = refusal
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self._write: Callable[[bytes], object] | None = None
        self._body: Any = None
        self._next: Callable[[], bytes] | None = None
        self._refused: Iterator[bytes] | None = None
        self._first: bytes | None = None

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """Be `start_response`: keep what is to be sent."""
        try:
            if self._write is not None:
                # What a server does: it raises the error, because its headers are sent.
                self._start_response(status, headers, exc_info)
            elif self._head is not None and exc_info is None:
                raise AssertionError("start_response was called twice, without an error.")
            self._head = status, headers
        finally:
            exc_info = None
        return self._written

    def respond(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return what the server is to send: *body* as it is where nothing more is read for it."""
        if self._input.error is None and (
            type(body) in (list, tuple, self._environ.get("wsgi.file_wrapper"))
        ):
            # Servers look at what has a length, and send a file of theirs as a file.
            self._begin()
            return body
        self._body = body
        try:
            # Now, because granian asks for the status as soon as the application has returned.
            self._first = next(self)
        except StopIteration:
            return self
        except BaseException:
            self.close()
            raise
        return self

    @property
    def is_refused(self) -> bool:
        """Whether the request is too long by now."""
        return self._input.error is not None

    def refused(self) -> Iterable[bytes]:
        """Send the refusal instead; raise the error where a part of another answer was sent."""
        error = self._input.error
        assert error is not None
        refused(RECEIVED)
        if self._write is not None:
            raise error
        # Its frames hold what holds it.
        error.__traceback__ = None
        return refuse(self._refusal, self._environ, self._start_response)

    def __iter__(self) -> Iterator[bytes]:
        """Begin the body."""
        return self

    def __next__(self) -> bytes:
        """Return the next piece: of the refusal, once there is an error."""
        first, self._first = self._first, None
        if first is not None:
            return first
        piece = self._own() if self._input.error is None else None
        if piece is not None:
            return piece
        if self._refused is None:
            self._refused = iter(self.refused())
        return next(self._refused)

    def _own(self) -> bytes | None:
        """Return the application's next piece; None if its request is too long by now."""
        try:
            if self._next is None:
                self._next = iter(self._body).__next__
            piece = self._next()
        except StopIteration:
            if self._input.error is None:
                self._begin()
                raise
        except Exception:
            if self._input.error is None:
                raise
        else:
            if self._input.error is None:
                self._begin()
                return piece
        return None

    def close(self) -> None:
        """Close the application's body."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._start_response = over
            if self._write is not None:
                self._write = over

    def _written(self, data: bytes) -> object:
        """Be `write`, for applications that still use it."""
        if self._input.error is not None:
            raise self._input.error
        self._begin()
        assert self._write is not None
        return self._write(data)

    def _begin(self) -> None:
        """Send status and headers; where there are none, the server finds that out."""
        if self._write is None and self._head is not None:
            self._write = self._start_response(*self._head)
