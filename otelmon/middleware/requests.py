"""Request metrics: counts, durations and sizes of everything the application answers.

It costs an object, two clock readings and about ten stores to memory per request; it changes
neither request nor response. A request is booked once, when the server closes the response body,
so a stream is measured to its end.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from itertools import chain
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from otelmon import faults
from otelmon.errors import LedgerError
from otelmon.ledger.layout import LANE_STARTED
from otelmon.ledger.pen import FREE_THREADED
from otelmon.ledger.requests import (
    DURATION,
    FIRST_BYTE,
    QUEUE,
    REQUEST_SIZE,
    RESPONSE_SIZE,
    SECONDS,
    SIZES,
)
from otelmon.middleware.routes import ROUTE, UNMATCHED, matched


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.ledger.instrument import Attribute, Attributes, Instrument
    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen

    Words = tuple[str, str | None, str | None, str | None, str]
    Key = tuple[str, str, int | str, str | None, str]


# https://opentelemetry.io/docs/specs/semconv/http/http-metrics/: any other method is _OTHER.
METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
OTHER: Final = "_OTHER"

OK: Final = "ok"
ERROR: Final = "error"
ABORTED: Final = "aborted"
DISCONNECTED: Final = "client_disconnected"

_MARK: Final = "otelmon.request"
_NANOSECONDS: Final = tuple(round(bound * 1e9) for bound in SECONDS)
_NO_BODY: Final = frozenset(("204", "304"))
_MAX_QUEUE_SECONDS: Final = 60.0
# Exception classes are the application's own and few; somebody may still make them by the dozen.
_MAX_ERROR_TYPES: Final = 100
_MAX_KNOWN: Final = 20_000
_SERVER_ERROR: Final = 500
_STARTED: Final = ((LANE_STARTED, 1),)
_NOTHING: Final[Iterator[bytes]] = iter(())
# More digits than a petabyte has are nobody's length.
_LENGTH: Final = re.compile("[0-9]{1,15}")
_STAMP: Final = re.compile(r"\s*(?:t=)?([0-9]{10,17}(?:\.[0-9]{1,9})?)\s*$")
_YEAR_2286: Final = 1e10  # seconds; ten times as many milliseconds are still in 1973


class RequestMetrics:
    """Measures the application that it wraps.

    *serve* is called at the first request of a process that has no pen yet; it returns one, or
    None, and then the request passes unmeasured. *endpoints* are answered instead of the
    application, by their exact path; they and the paths that *excluded* finds stay out of every
    figure.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        ledger: Ledger,
        serve: Callable[[], Pen | None],
        endpoints: Mapping[str, WSGIApplication] | None = None,
        excluded: Callable[[str], object] | None = None,
    ) -> None:
        """Wrap *app*."""
        self.app = app
        self._endpoints = endpoints or {}
        self._ledger = ledger
        self._serve = serve
        self._excluded = excluded
        self._cells: CellCache | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application, and measure until its body is closed."""
        path = environ.get("PATH_INFO", "")
        if path in self._endpoints:
            return self._endpoints[path](environ, start_response)
        if _MARK in environ or (self._excluded and self._excluded(path)):
            return self.app(environ, start_response)
        try:
            cells = self._cells
            if cells is None or cells.pen is not self._ledger.pen:
                cells = self._renew()
                if cells is None:
                    return self.app(environ, start_response)
            request = Request(environ, start_response, cells)
        except Exception as error:  # noqa: BLE001 - the request goes on without us
            faults.report("request_begin", error)
            return self.app(environ, start_response)
        try:
            body = self.app(environ, request)
        except BaseException as error:
            request.fail(error)
            raise
        return request.respond(body)

    def _renew(self) -> CellCache | None:
        """Look everything up again: another slot has other space, another file other lanes."""
        pen = self._ledger.pen or self._serve()
        self._cells = None if pen is None else CellCache(self._ledger, pen)
        return self._cells


class Request:
    """One request: what the application calls, and the body that the server iterates and closes.

    One object is all of these, because each further one costs a tenth of the whole. It is not kept
    in *environ*: that would be a cycle, and leave every request to the garbage collector.
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
        "_start",
        "_start_response",
        "_status",
        "_write",
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
        """Begin to measure."""
        self._environ = environ
        self._start_response = start_response
        self._cells: CellCache | None = cells
        self._body: Any = None
        self._status = self._headers = self._route = self._error = self._queued = None
        self._outcome = OK
        self._first = self._sent = 0
        self._complete = False
        environ[_MARK] = True
        if "HTTP_X_REQUEST_START" in environ or "HTTP_X_QUEUE_START" in environ:
            self._queued = queued_ns(environ)
        self._start = now = monotonic_ns()
        pen = cells.pen
        if FREE_THREADED:
            self._lock = pen.lock
            pen.add(_STARTED)
        else:
            pen.counts[LANE_STARTED] += 1
        pen.live[now] = None

    # -- what the application calls --------------------------------------------------------------

    def __call__(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: OptExcInfo | None = None,
        /,
    ) -> Callable[[bytes], object]:
        """Be `start_response`: note status and route, pass everything on as it is."""
        self._status = status
        self._headers = headers
        if "werkzeug.request" in self._environ:
            self._match()
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            self._write = self._start_response(status, headers, exc_info)
        return self._written

    def _match(self) -> None:
        try:
            self._route = matched(self._environ)
        except Exception as error:  # noqa: BLE001 - the response goes on without a route
            faults.report("request_route", error)

    def _written(self, data: bytes) -> object:
        """Be `write`, for applications that still use it."""
        try:
            result = self._write(data)
        except OSError:
            # Nothing but the server's socket fails here.
            self._outcome = DISCONNECTED
            raise
        if not self._first and data:
            self._first = monotonic_ns()
        self._sent += len(data)
        return result

    # -- what the server calls -------------------------------------------------------------------

    def respond(self, body: Any) -> Iterable[bytes]:  # noqa: ANN401 - a server's file has more
        """Return what the server is to send: this object, or the body itself if it is a file."""
        if type(body) is list or type(body) is tuple:
            # Servers look at a body's length to declare a Content-Length. The class is changed
            # because a further object would cost as much as half the booking.
            self._body = body
            self.__class__ = SizedRequest
            return self
        self._close = getattr(body, "close", None)
        if type(body) is self._environ.get("wsgi.file_wrapper"):
            return self._respond_file(body)
        self._body = body
        return self

    def _respond_file(self, body: Any) -> Iterable[bytes]:  # noqa: ANN401 - as above
        """Leave a file as it is, so that the server can still send it by sendfile."""
        self._complete = True
        self._sent = content_length(self._headers) or 0
        try:
            body.close = self.close
        except AttributeError:
            self._end()
        return body  # type: ignore[no-any-return]

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
        if not self._first and chunk:
            self._first = monotonic_ns()
        self._sent += len(chunk)
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
            if self._status is None:
                # What servers answer for an application that raises.
                self._status = "500"

    def _book(self) -> None:
        """Book the request, once."""
        cache = self._cells
        if cache is None:
            return
        self._cells = None
        elapsed = monotonic_ns() - self._start
        pen = cache.pen
        try:
            if not self._complete and self._outcome is OK and not self._whole():
                self._outcome = DISCONNECTED
            environ = self._environ
            cells = cache[
                environ["REQUEST_METHOD"],
                environ[ROUTE] if ROUTE in environ else self._route,  # noqa: SIM401 - half the cost
                self._status,
                self._error,
                self._outcome,
            ]
            sent = self._sent
            counts = pen.counts
            # This store commits the request: a process killed before it has lost the request, one
            # killed behind it has finished it.
            counts[cells.duration + bisect_left(_NANOSECONDS, elapsed)] += 1
            counts[cells.duration_sum] += elapsed
            counts[cells.response_size + bisect_left(SIZES, sent)] += 1
            counts[cells.response_size_sum] += sent
            if self._first:
                waited = self._first - self._start
                counts[cells.first_byte + bisect_left(_NANOSECONDS, waited)] += 1
                counts[cells.first_byte_sum] += waited
            if self._queued is not None or "CONTENT_LENGTH" in environ:
                self._book_arrival(counts, cells)
        except Exception as error:  # noqa: BLE001 - the response is sent; only the figure is lost
            faults.report("request_end", error)
        finally:
            pen.live.pop(self._start, None)

    def _book_arrival(self, counts: memoryview, cells: Cells) -> None:
        if self._queued is not None:
            counts[cells.queue + bisect_left(_NANOSECONDS, self._queued)] += 1
            counts[cells.queue_sum] += self._queued
        declared = self._environ.get("CONTENT_LENGTH", "")
        received = content_length((("content-length", declared),))
        if received is not None:
            counts[cells.request_size + bisect_left(SIZES, received)] += 1
            counts[cells.request_size_sum] += received

    def _book_in_turn(self) -> None:
        """Book the request while no other thread books one."""
        with self._lock:
            self._book()

    _end = _book_in_turn if FREE_THREADED else _book

    def _whole(self) -> bool:
        """Tell whether a body that was not read to its end was complete all the same."""
        status = self._status
        if self._environ.get("REQUEST_METHOD") == "HEAD" or (status and status[:3] in _NO_BODY):
            return True
        declared = content_length(self._headers)
        return declared is not None and self._sent >= declared


class SizedRequest(Request):
    """A request whose response body is a list or tuple: nearly every one has a single piece."""

    __slots__ = ()

    close = Request._end  # noqa: SLF001 - lists have no close, so this spares a call

    def __len__(self) -> int:
        """Return how many pieces the application's body has."""
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        """Hand out the body; asked again by `chain`, at its end, note that it was read to it."""
        if self._first:
            self._complete = True
            return _NOTHING
        self._first = monotonic_ns()
        body = self._body
        self._sent += len(body[0]) if len(body) == 1 else sum(map(len, body))
        return chain(body, self)


class Cells:
    """The first lane of each series that a request is booked to, and the lane of its sum."""

    __slots__ = (
        "duration",
        "duration_sum",
        "first_byte",
        "first_byte_sum",
        "queue",
        "queue_sum",
        "request_size",
        "request_size_sum",
        "response_size",
        "response_size_sum",
    )

    def __init__(self, find: Callable[[Instrument, Attributes], int], key: Key) -> None:
        """Find all series of the requests of one kind."""
        method, route, status, error, outcome = key
        by_route: Attributes = (("http.request.method", method), ("http.route", route))
        attributes: dict[str, Attribute] = {
            **dict(by_route),
            "http.response.status_code": status,
            "otelmon.outcome": outcome,
        }
        if error is not None:
            attributes["error.type"] = error
        self.duration = find(DURATION, tuple(sorted(attributes.items())))
        self.first_byte = find(FIRST_BYTE, by_route)
        self.queue = find(QUEUE, ())
        self.request_size = find(REQUEST_SIZE, by_route)
        self.response_size = find(RESPONSE_SIZE, by_route)
        self.duration_sum = self.duration + len(SECONDS) + 1
        self.first_byte_sum = self.first_byte + len(SECONDS) + 1
        self.queue_sum = self.queue + len(SECONDS) + 1
        self.request_size_sum = self.request_size + len(SIZES) + 1
        self.response_size_sum = self.response_size + len(SIZES) + 1


class CellCache(dict["Words", Cells]):
    """Which lanes of one pen belong to which kind of request.

    The keys are the words in which server, application and we put it, so that a request of a kind
    that was seen before costs one look-up. What clients choose is no key: they would never end.
    """

    def __init__(self, ledger: Ledger, pen: Pen) -> None:
        """Know nothing yet."""
        super().__init__()
        self.pen = pen
        self._ledger = ledger
        self._found: dict[Key, Cells] = {}
        self._error_types: set[str] = set()
        self._overflows = False

    def __missing__(self, words: Words) -> Cells:
        """Find the lanes of a kind of request that was not seen before.

        Raises:
            LedgerError: the ledger has none, not even those of the overflow series.
        """
        method, route, status, error, outcome = words
        code = status_code(status)
        if error is None and isinstance(code, int) and code >= _SERVER_ERROR:
            error = str(code)
        known_method = method if method in METHODS else OTHER
        key = (known_method, route or UNMATCHED, code, self._bounded(error), outcome)
        cells = self._found.get(key)
        if cells is None:
            self._overflows = False
            cells = Cells(self._find, key)
            if self._overflows:
                # Such keys have no end, and perhaps there is a series of its own next time.
                return cells
            self._found[key] = cells
        if known_method is method and len(self) < _MAX_KNOWN:
            self[words] = cells
        return cells

    def _find(self, instrument: Instrument, attributes: Attributes) -> int:
        series = self._ledger.series(instrument, attributes)
        if series is None:
            raise LedgerError(f"The ledger has no lanes for {instrument.name}.")
        self._overflows = self._overflows or series.attributes != attributes
        return series.base

    def _bounded(self, error: str | None) -> str | None:
        if error is None or error in self._error_types:
            return error
        if len(self._error_types) >= _MAX_ERROR_TYPES:
            return OTHER
        self._error_types.add(error)
        return error


def status_code(status: str | None) -> int | str:
    """Return the code that a status line begins with.

    An application that never called `start_response` made its server answer 500.
    """
    if status is None:
        return 500
    digits = status[:3]
    return int(digits) if len(digits) == 3 and digits.isdecimal() else OTHER


def content_length(headers: Iterable[tuple[str, str]] | None) -> int | None:
    """Return the declared length of a body in bytes, None if there is no usable one."""
    for name, value in headers or ():
        if name.lower() == "content-length":
            digits = value.strip()
            return int(digits) if _LENGTH.fullmatch(digits) else None
    return None


def queued_ns(environ: WSGIEnvironment) -> int | None:
    """Return how long a request waited since its proxy stamped it, None without a stamp.

    The header is `X-Request-Start` or `X-Queue-Start`, with or without `t=`, in seconds (nginx),
    milliseconds (Heroku) or microseconds (Apache) since 1970: the magnitude tells which. Clocks
    differ and clients lie, so the result is kept between 0 and 60 s.
    """
    stamp = environ.get("HTTP_X_REQUEST_START") or environ.get("HTTP_X_QUEUE_START")
    if not stamp:
        return None
    match = _STAMP.match(stamp)
    if match is None:
        return None
    seconds = float(match[1])
    for unit in (1e6, 1e3):
        if seconds > _YEAR_2286 * unit / 10:
            seconds /= unit
            break
    waited = time.time_ns() / 1e9 - seconds
    return round(min(max(waited, 0.0), _MAX_QUEUE_SECONDS) * 1e9)
