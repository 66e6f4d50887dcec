"""An answer whose headers wait until they must go: only then is known what becomes of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelmon import faults
from otelmon.hardening.held_answer import over
from otelmon.hardening.sessions.cookies import private, vary


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse

    from otelmon.hardening.sessions.cookies import Headers
    from otelmon.hardening.sessions.session import Part, Session


def told(part: Part, session: Session, headers: Headers) -> Headers:
    """Keep a session that was touched; return headers that also tell the client of it.

    Raises what keeping it raises.
    """
    cookie = session.settle()
    headers = vary(headers)
    if cookie is None:
        return headers
    given = part.cookie.set(cookie, part.store.cookie_seconds) if cookie else part.cookie.remove()
    return [*private(headers), given]


class Answer:
    """Status and headers, until the first piece of the body."""

    __slots__ = ("_error", "_headers", "_part", "_session", "_start", "_status", "_write")

    _error: OptExcInfo | None

    def __init__(self, part: Part, session: Session, start_response: StartResponse) -> None:
        """Have nothing yet."""
        self._part = part
        self._session = session
        self._start = start_response
        self._status: str | None = None
        self._write: Callable[[bytes], object] | None = None

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: OptExcInfo | None = None,
        /,
    ) -> Callable[[bytes], object]:
        """Take status and headers from the application, as PEP 3333 has it."""
        if self._write is not None:
            # They are sent: the server knows what to do.
            return self._start(status, headers, exc_info)
        if self._status is not None and exc_info is None:
            raise AssertionError("start_response was called before, and without an exc_info now")
        self._status, self._headers, self._error = status, headers, exc_info
        return self.write

    def write(self, data: bytes) -> object:
        """Be `write`, for applications that still use it."""
        self.begin()
        assert self._write is not None
        return self._write(data)

    def begin(self) -> None:
        """Keep the session, and hand status and headers to the server, once.

        Raises what keeping the session raises; then nothing was handed over.
        """
        status = self._status
        if self._write is not None or status is None:
            return
        headers = self._headers
        if self._session.touched:
            headers = told(self._part, self._session, headers)
        try:
            if self._error is None:
                self._write = self._start(status, headers)
            else:
                self._write = self._start(status, headers, self._error)
        finally:
            # It has this frame in its traceback: a cycle otherwise.
            self._error = None

    def end(self) -> None:
        """Keep what was changed while the body was sent; too late for anybody to hear of a failure."""
        if self._write is not None and self._session.touched:
            try:
                self._session.settle_late()
            except Exception as error:  # noqa: BLE001 - the client has its answer
                faults.report("sessions_late", error)
        self._start = over
        if self._write is not None:
            self._write = over


class Body:
    """The application's body, whose first piece has the headers go before it."""

    __slots__ = ("_answer", "_body", "_first", "_next")

    def __init__(self, body: Iterable[bytes], answer: Answer) -> None:
        """Take the first piece now: granian asks for the status once the application has returned.

        Raises what the application or keeping the session raises; the body is closed then.
        """
        self._body: Any = body
        self._answer = answer
        self._first: bytes | None = None
        self._next: Callable[[], bytes] | None = None
        try:
            self._first = self._piece()
        except StopIteration:
            pass
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        """Begin it."""
        return self

    def __next__(self) -> bytes:
        """Return a piece; the headers are sent."""
        first, self._first = self._first, None
        return self._piece() if first is None else first

    def _piece(self) -> bytes:
        """Take a piece, and see that the headers go before it."""
        if self._next is None:
            self._next = iter(self._body).__next__
        try:
            piece = self._next()
        except StopIteration:
            self._answer.begin()
            raise
        self._answer.begin()
        return piece

    def close(self) -> None:
        """Close the application's body, then keep what came late."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._answer.end()
