"""What the server sees of a measured application, and what is booked, for every kind of answer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from wsgiref.validate import validator

import pytest

from otelmon.ledger.requests import DURATION, FIRST_BYTE, RESPONSE_SIZE
from tests.apps import bodies
from tests.apps.bodies import TEXT, Closing, NoIterator, PlannedError, answering
from tests.wsgi_driver import Measured, Row, Server, environ, serve


if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIApplication


def same(app: WSGIApplication) -> WSGIApplication:
    """Put nothing around *app*."""
    return app


SIDES: Final[dict[str, tuple[Any, Any]]] = {
    "bare": (same, same),
    "validated server": (validator, same),
    "validated application": (same, validator),
    "both validated": (validator, validator),
}


class Case(NamedTuple):
    """An application and what is to be booked for one request to it."""

    app: Callable[[], WSGIApplication]
    status: int
    outcome: str = "ok"
    error: str | None = None
    size: int = 0
    method: str = "GET"

    @property
    def row(self) -> Row:
        """Return the one row."""
        return Row(self.method, "{unmatched}", self.status, self.outcome, self.error, 1)


def of(app: WSGIApplication) -> Callable[[], WSGIApplication]:
    """Return a factory of an application that can serve more than once."""
    return lambda: app


ANSWERS: Final = {
    "list": Case(of(answering(lambda: [b"a"])), 200, size=1),
    "long list": Case(of(answering(lambda: [b"a", b"", b"bc"])), 200, size=3),
    "empty list": Case(of(answering(list)), 200),
    "list of an empty piece": Case(of(answering(lambda: [b""])), 200),
    "tuple": Case(of(answering(lambda: (b"a", b"b"))), 200, size=2),
    "generator": Case(of(answering(lambda: (piece for piece in (b"", b"ab", b"c")))), 200, size=3),
    "empty generator": Case(of(answering(lambda: iter(()))), 200),
    "closing": Case(of(answering(lambda: Closing([b"ab", b"c"]))), 200, size=3),
    "lazy start": Case(of(bodies.generator), 503, error="503", size=5),
    "write": Case(of(bodies.writing), 200, size=6),
    "write, then a list": Case(of(bodies.writing_first), 200, size=11),
    "restart": Case(of(bodies.restarting), 502, error="502", size=5),
    "HEAD": Case(of(answering(list, headers=TEXT)), 200, method="HEAD"),
    "HEAD, generator": Case(of(answering(lambda: iter(()))), 200, method="HEAD"),
    "204": Case(of(answering(list, status="204 No Content", headers=())), 204),
    "304": Case(of(answering(lambda: iter(()), status="304 Not Modified", headers=())), 304),
    "404": Case(of(answering(lambda: [b"none"], status="404 Not Found")), 404, size=4),
    "500 by hand": Case(of(answering(lambda: [b"x"], status="500 Oops")), 500, error="500", size=1),
}

ABORTS: Final = (SystemExit, KeyboardInterrupt, GeneratorExit)

FAILURES: Final = {
    "restart too late": Case(of(bodies.restarting_late), 200, "error", "PlannedError", 5),
    "start twice": Case(of(bodies.starting_twice), 500, "error", "AssertionError"),
    "raise after write": Case(of(bodies.writing_then_raising), 200, "error", "PlannedError", 3),
    "raise at once": Case(of(bodies.raising(PlannedError())), 500, "error", "PlannedError"),
    "raise after start": Case(
        of(bodies.raising_started(PlannedError())), 500, "error", "PlannedError"
    ),
    "raise at the first piece": Case(
        of(bodies.breaking(PlannedError())), 500, "error", "PlannedError"
    ),
    "raise midway": Case(
        of(bodies.breaking(PlannedError(), b"ab")), 200, "error", "PlannedError", 2
    ),
    "raise in close": Case(
        of(bodies.failing_close(PlannedError())), 200, "error", "PlannedError", 4
    ),
    **{
        f"{kind.__name__} {when}": Case(
            partial(make, kind()), status, "aborted", kind.__name__, size
        )
        for kind in ABORTS
        for when, make, status, size in (
            ("at once", bodies.raising, 500, 0),
            ("after start", bodies.raising_started, 500, 0),
            ("midway", lambda error: bodies.breaking(error, b"ab"), 200, 2),
            ("in close", bodies.failing_close, 200, 4),
        )
    },
}

# The validator itself fails on these.
UNVALIDATED: Final = {
    "no iterator": Case(
        of(answering(lambda: NoIterator(PlannedError()))), 500, "error", "PlannedError"
    ),
    "aborted iterator": Case(
        of(answering(lambda: NoIterator(SystemExit()))), 500, "aborted", "SystemExit"
    ),
    "no body": Case(of(answering(lambda: None)), 500, "error", "TypeError"),
    "no start": Case(of(bodies.never_starting), 500, "error", "AssertionError", 4),
    "no start, generator": Case(
        of(bodies.never_starting_generator), 500, "error", "AssertionError", 4
    ),
    "no start, no piece": Case(of(lambda _, __: []), 500, "error", "500"),
    "text for bytes": Case(of(answering(lambda: ["ab"])), 200, "error", "TypeError", 2),
    "text midway": Case(of(answering(lambda: iter([b"a", "b"]))), 200, "error", "TypeError", 2),
    "no length": Case(of(answering(lambda: [None])), 500, "error", "TypeError"),
    "no length midway": Case(of(answering(lambda: iter([b"a", 1]))), 200, "error", "TypeError", 1),
    "number written": Case(of(bodies.writing_a_number), 500, "error", "TypeError"),
}
CASES: Final = {**ANSWERS, **FAILURES, **UNVALIDATED}


def check(case: Case, sides: str) -> None:
    """Serve *case* bare and measured, and compare."""
    outside, inside = SIDES[sides]
    bare = serve(outside(inside(case.app())), environ(case.method))
    measured = Measured(inside(case.app()), around=outside)

    seen = measured.ask(environ(case.method))

    assert seen.events == bare.events, sides
    assert measured.row() == case.row, sides
    assert measured.histogram(RESPONSE_SIZE) == (1, case.size), sides
    assert measured.histogram(DURATION).times == 1, sides
    assert measured.histogram(FIRST_BYTE).times == int(case.size > 0), sides


@pytest.mark.parametrize("name", CASES)
def test_every_answer_is_passed_on_and_booked_once(name: str) -> None:
    """Whatever an application does, the server sees it as without otelmon; it is booked once."""
    check(CASES[name], "bare")


@pytest.mark.parametrize("name", [*ANSWERS, *FAILURES])
def test_the_validator_finds_nothing(name: str) -> None:
    """wsgiref's validator, on the server's side, the application's and both, finds no fault."""
    for sides in SIDES:
        check(CASES[name], sides)


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("patience", [None, 0, 1])
def test_close_comes_once_and_before_the_booking(failing: bool, patience: int | None) -> None:
    """The application's close() is called once, and the request is in flight until it is done."""
    states: list[tuple[int, int]] = []

    def close() -> None:
        reading = measured.reading()
        states.append((reading.finished, reading.in_flight))
        if failing:
            raise PlannedError

    measured = Measured(answering(lambda: Closing([b"a", b"b"], close)))

    measured.ask(patience=patience)

    assert states == [(0, 1)]
    assert measured.reading().finished == 1


def test_a_body_that_is_closed_twice_is_booked_once() -> None:
    """A server that closes twice reaches the application twice, and the figures once."""
    closed: list[None] = []
    measured = Measured(answering(lambda: Closing([b"a"], lambda: closed.append(None))))

    body: Any = measured.app(environ(), Server().start_response)
    body.close()
    body.close()

    assert len(closed) == 2
    assert measured.row().times == 1


def test_a_list_can_be_read_again() -> None:
    """A list can be looked into and then read, more than once, as without otelmon."""
    measured = Measured(answering(lambda: [b"only"]))

    body: Any = measured.app(environ(), Server().start_response)

    assert next(iter(body)) == b"only"
    assert (list(body), list(body)) == ([b"only"], [b"only"])
    body.close()
    assert measured.row().outcome == "ok"


class Pieces(list[bytes]):
    """A list of a class of its own."""


class SizedBody(Closing):
    """A body with a length and a close()."""

    def __len__(self) -> int:
        """Have one piece."""
        return 1


SIZED: Final[dict[str, Callable[[], Any]]] = {
    "list of its own class": lambda: Pieces([b"a"]),
    "sized body with a close": lambda: SizedBody([b"a"]),
    "dictionary": lambda: {b"a": 1},
    "bytes": lambda: b"abc",
}


@pytest.mark.parametrize("name", SIZED)
def test_every_body_with_a_length_keeps_it(name: str) -> None:
    """A server that asks for the length of a body gets the application's answer."""
    body = SIZED[name]
    bare = serve(answering(body))

    seen = Measured(answering(body)).ask()

    assert seen.events == bare.events
    assert ("length", None) not in seen.events


HANGING_UP: Final[dict[str, Callable[[], WSGIApplication]]] = {
    "list": of(answering(lambda: [b"a", b"b", b"c"])),
    "generator": of(answering(lambda: iter([b"a", b"b", b"c"]))),
    "closing": of(answering(lambda: Closing([b"a", b"b", b"c"]))),
    "declared": of(
        answering(lambda: iter([b"a", b"b", b"c"]), headers=[("Content-Length", "3"), *TEXT])
    ),
    "declared list": of(
        answering(lambda: [b"a", b"b", b"c"], headers=[("Content-Length", "3"), *TEXT])
    ),
    "write": of(bodies.writing),
}


@pytest.mark.parametrize("patience", [0, 1, 2])
@pytest.mark.parametrize("name", HANGING_UP)
def test_a_client_that_hangs_up_is_no_error(name: str, patience: int) -> None:
    """A client that goes before the last piece is an outcome of its own, with the true status."""
    measured = Measured(HANGING_UP[name]())

    seen = measured.ask(patience=patience)

    assert seen.events == Server(patience=patience).serve(HANGING_UP[name](), environ()).events
    assert measured.row() == ("GET", "{unmatched}", 200, "client_disconnected", None, 1)


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content")])
def test_a_body_that_nobody_wants_is_no_hang_up(method: str, status: str) -> None:
    """A server that leaves the body of a HEAD or 204 response unread has got all of it."""
    measured = Measured(answering(lambda: Closing([b"a"]), status=status))

    body: Any = measured.app(environ(method), Server().start_response)
    body.close()

    assert measured.row().outcome == "ok"


@pytest.mark.parametrize("kind", ABORTS)
def test_a_worker_that_is_aborted_while_it_sends_is_no_hang_up(kind: type[BaseException]) -> None:
    """A timeout that hits the server while it sends a piece is booked as aborted."""

    class Stuck(Server):
        def write(self, data: bytes) -> None:
            super().write(data)
            raise kind

    measured = Measured(answering(lambda: Closing([b"a", b"b"])))

    Stuck().serve(measured.app, environ())

    assert measured.row() == ("GET", "{unmatched}", 200, "aborted", kind.__name__, 1)


class Lenient(Server):
    """A server that leaves out what is no bytes, as waitress does with what is false."""

    def write(self, data: bytes) -> None:
        """Send bytes only."""
        if isinstance(data, bytes):
            super().write(data)


@pytest.mark.parametrize(
    "app",
    [
        answering(lambda: [None, b"a", 1, b"b"]),
        answering(lambda: iter([None, b"a", 1, b"b"])),
        bodies.writing_a_number,
    ],
    ids=["list", "generator", "write"],
)
def test_a_piece_that_the_server_lets_pass_passes(app: WSGIApplication) -> None:
    """What has no length is no failure of ours: the server goes on, the rest is measured."""
    measured = Measured(app)

    seen = Lenient().serve(measured.app, environ())

    assert seen.raised is None
    assert measured.row() == ("GET", "{unmatched}", 200, "ok", None, 1)
    assert measured.histogram(RESPONSE_SIZE) == (1, len(seen.body))


def test_a_server_that_drops_a_response_without_a_status_is_no_hang_up() -> None:
    """A body that is closed though start_response was never called is the application's error."""
    measured = Measured(bodies.never_starting)

    body: Any = measured.app(environ(), Server().start_response)
    body.close()

    assert measured.row() == ("GET", "{unmatched}", 500, "error", "500", 1)


def test_a_body_that_fails_while_it_is_asked_for_its_close_is_booked() -> None:
    """A body whose very attributes raise is an error of the application, and not in flight."""

    class Hostile:
        @property
        def close(self) -> None:
            raise PlannedError

    measured = Measured(answering(Hostile))

    seen = measured.ask()

    assert isinstance(seen.raised, PlannedError)
    assert measured.row() == ("GET", "{unmatched}", 500, "error", "PlannedError", 1)
