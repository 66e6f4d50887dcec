"""Any application, made up by hypothesis, answers the same bare and measured."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apps.bodies import Closing, NoIterator, PlannedError
from tests.wsgi_driver import Measured, Server, environ


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Sized(Closing):
    """A body that says how long it is."""

    def __len__(self) -> int:
        """Be longer than one."""
        return 7


class Reader:
    """A file that hands out given pieces."""

    def __init__(self, pieces: Iterable[bytes], closed: Callable[[], None]) -> None:
        """Hand out *pieces* whatever size is asked for."""
        self._pieces = iter(pieces)
        self.close = closed

    def read(self, _: int) -> bytes:
        """Return the next piece; an empty one is the end."""
        return next(self._pieces, b"")


class Plan(NamedTuple):
    """What an application does with one request."""

    status: Any
    headers: list[tuple[str, str]]
    written: list[bytes]
    kind: str
    pieces: list[Any]
    lazy: bool
    restart: bool
    fails: str
    failure: type[BaseException]


KINDS = ("list", "tuple", "generator", "closing", "sized", "file", "no iterator", "none")
FAILURES = (PlannedError, OSError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration)
# What no application should say, and some do.
STATUSES = ("200 OK", "204 No Content", "304 Not Modified", "404 Not Found", "500 Oops", "2", "")
PIECES = st.binary(max_size=5) | st.sampled_from([None, 1, "text", bytearray(b"ab"), 2.5, [b"x"]])

plans = st.builds(
    Plan,
    status=st.sampled_from(STATUSES) | st.text(max_size=6),
    headers=st.lists(
        st.tuples(st.sampled_from(["Content-Length", "X-Other"]), st.text(max_size=4)), max_size=3
    ),
    written=st.lists(st.binary(max_size=4), max_size=2),
    kind=st.sampled_from(KINDS),
    pieces=st.lists(st.binary(max_size=5), max_size=4) | st.lists(PIECES, max_size=3),
    lazy=st.booleans(),
    restart=st.booleans(),
    fails=st.sampled_from(["never", "at once", "started", "first", "last", "close"]),
    failure=st.sampled_from(FAILURES),
)


class Planned:
    """An application that does what its plan says, and notes what the server does to it."""

    def __init__(self, plan: Plan) -> None:
        """Follow *plan*."""
        self.plan = plan
        self.notes: list[str] = []

    def __call__(self, request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        self._fail("at once")
        if self.plan.lazy:
            return self._lazily(start_response)
        self._start(start_response)
        body: Iterable[bytes] = self._body(request)
        return body

    def _fail(self, when: str) -> None:
        if self.plan.fails == when:
            raise self.plan.failure

    def _start(self, start_response: StartResponse) -> None:
        plan = self.plan
        write = start_response(plan.status, list(plan.headers))
        for data in plan.written:
            write(data)
        if plan.restart:
            try:
                raise PlannedError  # noqa: TRY301 - exc_info must be of an exception under way
            except PlannedError:
                start_response("502 Bad Gateway", [], sys.exc_info())
        self._fail("started")

    def _lazily(self, start_response: StartResponse) -> Iterator[bytes]:
        self._start(start_response)
        yield from self._pieces()

    def _pieces(self) -> Iterator[Any]:
        self._fail("first")
        yield from self.plan.pieces
        self._fail("last")

    def _close(self) -> None:
        self.notes.append("closed")
        self._fail("close")

    def _body(self, request: WSGIEnvironment) -> Any:  # noqa: ANN401 - of many kinds
        makers: dict[str, Callable[[], Any]] = {
            "list": lambda: list(self.plan.pieces),
            "tuple": lambda: tuple(self.plan.pieces),
            "generator": self._pieces,
            "closing": lambda: Closing(self._pieces(), self._close),
            "sized": lambda: Sized(self._pieces(), self._close),
            "file": lambda: request["wsgi.file_wrapper"](Reader(self.plan.pieces, self._close)),
            "no iterator": lambda: NoIterator(self.plan.failure()),
            "none": lambda: None,
        }
        return makers[self.plan.kind]()


def outcome_of(
    plan: Plan, wrap: Callable[[WSGIApplication], WSGIApplication], patience: int | None
) -> tuple[Any, ...]:
    """Serve one request; return all that server and application saw."""
    app = Planned(plan)
    seen = Server(patience=patience).serve(wrap(app), environ())
    return seen.events, seen.status, seen.headers, seen.body, app.notes


@settings(max_examples=500)
@given(plan=plans, patience=st.none() | st.integers(0, 3))
def test_no_application_can_tell_nor_its_server(plan: Plan, patience: int | None) -> None:
    """Events, bytes, exceptions and closes are those of the bare application; one request counts."""
    measured: list[Measured] = []

    def wrap(app: WSGIApplication) -> WSGIApplication:
        measured.append(Measured(app))
        return measured[0].app

    assert outcome_of(plan, wrap, patience) == outcome_of(plan, lambda app: app, patience)

    reading = measured[0].reading()
    assert (reading.started, reading.finished, reading.lost, reading.in_flight) == (1, 1, 0, 0)
