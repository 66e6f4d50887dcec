"""A tiny WSGI server in this process, which notes all it sees; and what was booked of it."""

from __future__ import annotations

import io
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import DURATION
from otelmon.middleware.requests import RequestMetrics


if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from otelmon.ledger.instrument import Instrument
    from otelmon.ledger.pen import Pen
    from otelmon.ledger.reader import Reading


class HangUpError(ConnectionError):
    """The client has gone, as the server's socket says it."""


class WholeFile:
    """The driver's `wsgi.file_wrapper`, made as those of gunicorn and wsgiref are."""

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:  # noqa: ANN401 - like theirs
        """Take over the file's close."""
        self.filelike = filelike
        self.blksize = blksize
        self.close = filelike.close

    def __iter__(self) -> WholeFile:
        """Be read in blocks."""
        return self

    def __next__(self) -> bytes:
        """Return a block."""
        data: bytes = self.filelike.read(self.blksize)
        if not data:
            raise StopIteration
        return data


def environ(method: str = "GET", path: str = "/", **more: Any) -> WSGIEnvironment:  # noqa: ANN401
    """Return what a server hands to an application, complete enough for wsgiref's validator."""
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": WholeFile,
        **more,
    }


@dataclass
class Seen:
    """All that a server sees of one request, in its order."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    status: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    headers_sent: bool = False
    raised: BaseException | None = None

    def note(self, *event: object) -> None:
        """Add an event."""
        self.events.append(event)


class Server:
    """Serves one request as gunicorn does: piece by piece, closing whatever happens.

    The client hangs up when *patience* pieces were sent to it.
    """

    def __init__(self, *, patience: int | None = None) -> None:
        """Have seen nothing."""
        self.seen = Seen()
        self._patience = patience

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: OptExcInfo | None = None,
        /,
    ) -> Callable[[bytes], object]:
        """Take status and headers, as PEP 3333 has it."""
        seen = self.seen
        seen.note("start", status, list(headers), exc_info and exc_info[0])
        if exc_info:
            try:
                if seen.headers_sent:
                    assert exc_info[1] is not None
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif seen.status is not None:
            raise AssertionError("start_response was called before")
        seen.status, seen.headers = status, list(headers)
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece."""
        seen = self.seen
        if seen.status is None:
            raise AssertionError("write before start_response")
        if self._patience == 0:
            seen.note("hung up")
            raise HangUpError
        if self._patience is not None:
            self._patience -= 1
        seen.note("piece", data)
        if not isinstance(data, bytes):
            raise TypeError(f"{data!r} is no bytes")
        seen.headers_sent = seen.headers_sent or bool(data)
        seen.body += data

    def serve(self, app: WSGIApplication, request: WSGIEnvironment) -> Seen:
        """Serve *request*; an exception is noted, never raised."""
        try:
            body = app(request, self.start_response)
            self._send(body, request)
        except BaseException as error:  # noqa: BLE001 - whatever the application raises
            self.seen.note("raised", type(error))
            self.seen.raised = error
        return self.seen

    def _send(self, body: Any, request: WSGIEnvironment) -> None:  # noqa: ANN401 - like any body
        try:
            self.seen.note("length", len(body) if hasattr(body, "__len__") else None)
            self.seen.note("file", type(body) is request["wsgi.file_wrapper"])
            for piece in body:
                self.write(piece)
            self.seen.headers_sent = True
        finally:
            if hasattr(body, "close"):
                body.close()


def serve(app: WSGIApplication, request: WSGIEnvironment | None = None) -> Seen:
    """Serve one request to a patient client."""
    return Server().serve(app, environ() if request is None else request)


class Row(NamedTuple):
    """Requests of one kind, as they were booked."""

    method: str
    route: str
    status: int | str
    outcome: str
    error: str | None
    times: int


class Histogram(NamedTuple):
    """One instrument over all its series."""

    times: int
    total: int  # in the instrument's scale


class Measured:
    """An application under RequestMetrics, on a ledger of its own."""

    def __init__(
        self,
        app: WSGIApplication,
        *,
        around: Callable[[WSGIApplication], WSGIApplication] = lambda app: app,
        series_limit: int = 2000,
        **options: Any,  # noqa: ANN401 - those of RequestMetrics
    ) -> None:
        """Measure *app*; *around* stands between the server and the measuring."""
        self.ledger = Ledger(series_limit=series_limit)
        self._lock = threading.Lock()
        options.setdefault("serve", self.serve_alone)
        self.metrics = RequestMetrics(app, ledger=self.ledger, **options)
        self.app = around(self.metrics)

    def serve_alone(self) -> Pen:
        """Have memory of its own from the first request on, whichever thread's that is."""
        with self._lock:
            return self.ledger.pen or self.ledger.serve_alone()

    def ask(self, request: WSGIEnvironment | None = None, *, patience: int | None = None) -> Seen:
        """Serve one request."""
        return Server(patience=patience).serve(self.app, environ() if request is None else request)

    def reading(self) -> Reading:
        """Return what was counted."""
        reading = self.ledger.read()
        assert reading is not None
        return reading

    def rows(self) -> list[Row]:
        """Return the requests that were booked, by kind."""
        return rows(self.reading())

    def row(self) -> Row:
        """Return the one kind that was booked, while nothing is in flight and nothing was lost."""
        reading = self.reading()
        assert (reading.started, reading.lost) == (reading.finished, 0)
        (row,) = rows(reading)
        return row

    def histogram(self, instrument: Instrument) -> Histogram:
        """Return an instrument's count and sum over all series."""
        return histogram(self.reading(), instrument)


def rows(reading: Reading) -> list[Row]:
    """Return the requests of a reading by kind, leaving out kinds without any."""
    found = []
    for series in reading.series:
        count = sum(series.buckets(reading.lanes))
        if series.instrument == DURATION and count:
            found.append(_row(dict(series.attributes), count))
    return sorted(found, key=repr)


def _row(attributes: dict[str, Any], count: int) -> Row:
    if "otel.metric.overflow" in attributes:
        return Row("", "overflow", "", "", None, count)
    return Row(
        attributes["http.request.method"],
        attributes["http.route"],
        attributes["http.response.status_code"],
        attributes["otelmon.outcome"],
        attributes.get("error.type"),
        count,
    )


def histogram(reading: Reading, instrument: Instrument) -> Histogram:
    """Return an instrument's count and sum over all series of a reading."""
    found = [series for series in reading.series if series.instrument == instrument]
    return Histogram(
        sum(sum(series.buckets(reading.lanes)) for series in found),
        sum(series.total(reading.lanes) for series in found),
    )
