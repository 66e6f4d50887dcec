"""One request, from the call of the application until the server has closed the body."""

from __future__ import annotations

import sys
from bisect import bisect_left
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.handlers import let_pass
from otelmon.instruments.databases.tally import QUERIES
from otelmon.ledger.layout import LANE_LOST
from otelmon.ledger.pen import FREE_THREADED
from otelmon.ledger.requests import SIZES
from otelmon.middleware.arrival import NANOSECONDS, book_arrival, content_length, queued_ns
from otelmon.middleware.cells import ABORTED, DISCONNECTED, ERROR, OK
from otelmon.middleware.routes import ROUTE, matched


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from otelmon.middleware.cells import CellCache


MARK: Final = "otelmon.request"
"""In the environ of every request that is measured, so that it is measured once"""

_NO_BODY: Final = frozenset(("204", "304"))
# What servers answer for an application that raises or never calls `start_response`.
_FAILED: Final = "500"
# What servers raise over a status, header or piece of body that is none.
_REFUSALS: Final = (TypeError, ValueError, AssertionError)


class Request:
    """One request: what the application calls, and the body that the server iterates and closes.

    One object is all of these, because each further one costs a tenth of the whole. It is not in
    *environ*: that would be a cycle, and leave every request to the garbage collector.
    """

    __slots__ = (
        "_body",
        "_cells",
        "_close",
        "_complete",
        "_environ",
        "_error",
        "_first",
        "_headers",
        "_lock",
        "_next",
        "_outcome",
        "_queued",
        "_route",
        "_sent",
        "_start_response",
        "_status",
        "_write",
        "began",
    )

    _close: Callable[[], object] | None
    _error: str | None
    _headers: list[tuple[str, str]] | None
    _next: Callable[[], bytes]
    _queued: int | None
    _route: str | None
    _status: str | None
    _write: Callable[[bytes], object]

    def __init__(
        self, environ: WSGIEnvironment, start_response: StartResponse, cells: CellCache
    ) -> None:
        """Begin to measure; whoever asks for it counts it as started."""
        self._environ = environ
        self._start_response = start_response
        self._cells: CellCache | None = cells
        self._body: Any = None
        self._status = self._headers = self._route = self._error = self._queued = None
        self._outcome = OK
        self._first, self._sent, self._complete = 0, 0, False
        environ[MARK] = True
        if "HTTP_X_REQUEST_START" in environ or "HTTP_X_QUEUE_START" in environ:
            self._queued = queued_ns(environ)
        if FREE_THREADED:
            self._lock = cells.pen.lock
        # Last: what comes before is not the application's time.
        self.began = monotonic_ns()

    # -- what the application calls --------------------------------------------------------------

    def __call__(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: OptExcInfo | None = None,
        /,
    ) -> Callable[[bytes], object]:
        """Be `start_response`: pass everything on as it is, note status and route."""
        if "werkzeug.request" in self._environ:
            self._match()
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            try:
                self._write = self._start_response(status, headers, exc_info)
            finally:
                # What the server raises has this frame in its traceback: a cycle otherwise.
                exc_info = None
        # Only now: what the server refused is not what the client gets.
        self._status = status
        self._headers = headers
        return self._written

    def _match(self) -> None:
        try:
            self._route = matched(self._environ)
        except Exception as error:  # noqa: BLE001 - the response goes on without a route
            let_pass(error)
            faults.report("request_route", error)

    def _written(self, data: bytes) -> object:
        """Be `write`, for applications that still use it."""
        try:
            result = self._write(data)
        except OSError:
            # Nothing but the server's socket fails here.
            self._outcome = DISCONNECTED
            raise
        self._count(data)
        return result

    def _count(self, piece: bytes) -> None:
        """Count a piece of the body; hot paths do the same themselves."""
        try:
            if not self._first and piece:
                self._first = monotonic_ns()
            self._sent += len(piece)
        except TypeError:
            # What has no length is the server's to refuse, not ours.
            return

    # -- what the server calls -------------------------------------------------------------------

    def respond(self, body: Any) -> Iterable[bytes]:  # noqa: ANN401 - a server's file has more
        """Return what the server is to send: this object, or the body itself if it is a file."""
        if type(body) is list or type(body) is tuple:
            # Servers look at a body's length to declare a Content-Length. The class is changed
            # because a further object would cost as much as half the booking.
            self._body = body
            self.__class__ = ListRequest
            return self
        self._close = getattr(body, "close", None)
        if type(body) is self._environ.get("wsgi.file_wrapper"):
            return self._respond_file(body)
        self._body = body
        if hasattr(body, "__len__"):
            self.__class__ = SizedRequest
        return self

    def _respond_file(self, body: Any) -> Iterable[bytes]:  # noqa: ANN401 - as above
        """Leave a file as it is, so that the server can still send it by sendfile."""
        self._complete = True
        self._sent = content_length(self._headers) or 0
        try:
            body.close = self._close_file
        except AttributeError:
            self._end()
        return body  # type: ignore[no-any-return]

    def _close_file(self) -> None:
        """Close a file that the server has sent, or could not send: that error is under way now."""
        if sys.exc_info()[1] is not None:
            self._judge()
        try:
            self.close()
        finally:
            # The file refers to this object: leave no cycle.
            self._close = None

    def __iter__(self) -> Iterator[bytes]:
        """Begin the body."""
        try:
            self._next = iter(self._body).__next__
        except BaseException as error:
            self._fault(error)
            raise
        return self

    def __next__(self) -> bytes:
        """Pass the next piece of the body on."""
        try:
            chunk = self._next()
        except StopIteration:
            self._complete = True
            raise
        except BaseException as error:
            self._fault(error)
            raise
        try:
            if not self._first and chunk:
                self._first = monotonic_ns()
            self._sent += len(chunk)
        except TypeError:  # what has no length is the server's to refuse, not ours
            return chunk
        return chunk

    def close(self) -> None:
        """Close the application's body, then book the request, whatever the former did."""
        if self._close is None:
            self._end()
            return
        try:
            self._close()
        except BaseException as error:
            self._fault(error)
            raise
        finally:
            self._end()

    def fail(self, error: BaseException) -> None:
        """Book a request whose exception leaves the application."""
        self._fault(error)
        self._end()

    # -- booking ---------------------------------------------------------------------------------

    def _fault(self, error: BaseException) -> None:
        """Note what went wrong, unless the client had gone before."""
        if self._outcome is OK:
            self._outcome = ERROR if isinstance(error, Exception) else ABORTED
            self._error = type(error).__qualname__
            if not (self._first or self._complete):
                # Nothing was sent, so the server can still say it.
                self._status = _FAILED

    def _book(self) -> None:  # noqa: PLR0915 - a call for each part would cost as much as the part
        """Book the request, once."""
        cache = self._cells
        if cache is None:
            return
        self._cells, pen, committed = None, cache.pen, False
        try:
            # Whatever is a call stands in here: a signal handler of the application's may raise in it.
            elapsed = monotonic_ns() - self.began
            if not self._complete and self._outcome is OK:
                self._judge()
            environ = self._environ
            cells = cache[
                environ["REQUEST_METHOD"],
                environ[ROUTE] if ROUTE in environ else self._route,  # noqa: SIM401 - half the cost
                self._status,
                self._error,
                self._outcome,
            ]
            sent = self._sent
            at = cells.duration + bisect_left(NANOSECONDS, elapsed)
            size_at = cells.response_size + bisect_left(SIZES, sent)
            # No call from here to the last store: in one the pen may be laid down, see `Pen`.
            counts = pen.counts
            # This store commits the request: a process killed before it has lost the request, one
            # killed behind it has finished it.
            counts[at] += 1
            committed = True
            counts[cells.duration_sum] += elapsed
            counts[size_at] += 1
            counts[cells.response_size_sum] += sent
            if self._first:
                waited = self._first - self.began
                at = cells.first_byte + bisect_left(NANOSECONDS, waited)
                counts = pen.counts
                counts[at] += 1
                counts[cells.first_byte_sum] += waited
            if self._queued is not None or "CONTENT_LENGTH" in environ:
                book_arrival(pen, cells, environ, self._queued)
            if QUERIES.on:
                QUERIES.end(cells.by_route)
        except Exception as error:  # noqa: BLE001 - the response is sent; only the figure is lost
            let_pass(error)
            faults.report("request_end", error)
        finally:
            if not committed:
                # Or it would be in flight for ever.
                pen.counts[LANE_LOST] += 1
            pen.live.pop(self.began, None)

    def _book_in_turn(self) -> None:
        """Book the request while no other thread books one."""
        with self._lock:
            self._book()

    _end = _book_in_turn if FREE_THREADED else _book

    def _judge(self) -> None:
        """Tell why the server did not read a body to its end, as far as can be known.

        An error that is under way while the server closes the body is the server's own.
        """
        error = sys.exc_info()[1]
        if isinstance(error, _REFUSALS) or not isinstance(error, Exception | None):
            self._fault(error)
        elif self._status is None:
            self._outcome = ERROR
        elif self._environ.get("REQUEST_METHOD") != "HEAD" and self._status[:3] not in _NO_BODY:
            self._outcome = DISCONNECTED


class SizedRequest(Request):
    """A request whose response body has a length."""

    __slots__ = ()

    def __len__(self) -> int:
        """Return the length of the application's body: of a list, the number of its pieces."""
        return len(self._body)


class ListRequest(SizedRequest):
    """A request whose response body is a list or tuple: what most applications return."""

    __slots__ = ()

    close = Request._end  # noqa: SLF001 - lists have no close, so this spares a call

    def __iter__(self) -> Iterator[bytes]:
        """Hand out the body; a generator costs less than the two calls of `__next__`."""
        for piece in self._body:
            try:
                if not self._first and piece:
                    self._first = monotonic_ns()
                self._sent += len(piece)
            except TypeError:  # as above
                yield piece
                continue
            yield piece
        self._complete = True
