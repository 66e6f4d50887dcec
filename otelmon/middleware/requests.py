"""Request metrics: counts, durations and sizes of everything the application answers.

It costs an object, two clock readings and about ten stores to memory per request; it changes
neither request nor response. A request is booked once, when the server closes the response body,
so a stream is measured to its end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from otelmon import faults
from otelmon.handlers import let_pass
from otelmon.instruments.databases.tally import QUERIES
from otelmon.ledger.layout import LANE_STARTED
from otelmon.ledger.pen import FREE_THREADED
from otelmon.middleware import routes
from otelmon.middleware.cells import CellCache
from otelmon.middleware.request import MARK, Request


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.ledger.ledger import Ledger
    from otelmon.ledger.pen import Pen


_STARTED: Final = ((LANE_STARTED, 1),)


class RequestMetrics:
    """Measures the application that it wraps.

    *serve* is called at the first request of a process that has no pen yet, and at each until
    *settled* says that it need not be again; it returns a pen, or None, and then the request passes
    unmeasured. *endpoints* are answered instead of the
    application, by their exact path; they and the paths that *excluded* finds stay out of every
    figure.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        ledger: Ledger,
        serve: Callable[[], Pen | None],
        settled: Callable[[], bool] = lambda: True,
        endpoints: Mapping[str, WSGIApplication] | None = None,
        excluded: Callable[[str], object] | None = None,
    ) -> None:
        """Wrap *app*."""
        self.app = app
        self.endpoints = endpoints or {}
        self._ledger = ledger
        self._serve = serve
        self._settled = settled
        self._excluded = excluded
        self._made: CellCache | None = None
        self._cells: CellCache | None = None
        """What was made, once it is settled: until then each request has to ask"""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application, and measure until its body is closed."""
        path = environ.get("PATH_INFO", "")
        if path in self.endpoints:
            return self._answered(path, environ, start_response)
        cells = self._cells
        if cells is None or cells.pen is not self._ledger.pen:
            cells = self._renew()
        if cells is None or MARK in environ or (self._excluded and self._excluded(path)):
            return self.app(environ, start_response)
        if QUERIES.on:
            QUERIES.begin()
        try:
            request = Request(environ, start_response, cells)
        except Exception as error:  # noqa: BLE001 - the request goes on without us
            let_pass(error)
            faults.report("request_begin", error)
            return self.app(environ, start_response)
        pen = cells.pen
        # No call from here into the second `try`: a signal handler of the application's may raise
        # in any, and a request that was started and cannot fail would be in flight for ever.
        if FREE_THREADED:
            pen.add(_STARTED)
        else:
            pen.counts[LANE_STARTED] += 1
        pen.live[request.began] = None
        try:
            return request.respond(self.app(environ, request))
        except BaseException as error:
            request.fail(error)
            raise

    def _answered(
        self, path: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer what is an endpoint's."""
        if self._ledger.pen is None or self._cells is None:
            # A server may be probed and scraped long before its first request.
            self._renew()
        return self.endpoints[path](environ, start_response)

    def _renew(self) -> CellCache | None:
        """Look everything up again: another slot has other space, another file other lanes."""
        try:
            pen = self._ledger.pen
            if pen is None or not self._settled():
                pen = self._serve()
        except Exception as error:  # noqa: BLE001 - the request goes on without us
            let_pass(error)
            faults.report("request_begin", error)
            pen = None
        made = None if pen is None else self._made_for(pen)
        self._cells = made if self._settled() else None
        return made

    def _made_for(self, pen: Pen) -> CellCache:
        if self._made is None or self._made.pen is not pen:
            # Once more, for what was made since the application was wrapped.
            routes.attach(self.app)
            self._made = CellCache(self._ledger, pen, unmatched=partial(routes.attach, self.app))
        return self._made
