"""Who is measured, when, by whom, and where it is booked."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelmon import faults, set_route
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import RESPONSE_SIZE
from otelmon.middleware.requests import RequestMetrics
from otelmon.middleware.routes import UNMATCHED
from tests.apps.bodies import TEXT, Closing, answering
from tests.gunicorn_server import ROOT
from tests.wsgi_driver import Measured, environ, rows, serve


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from otelmon.ledger.pen import Pen

OK = answering(lambda: [b"ok"])


def test_a_request_through_two_monitors_of_a_ledger_is_counted_once() -> None:
    """An application that is measured inside another measured one counts once."""
    ledger = Ledger()
    inner = RequestMetrics(OK, ledger=ledger, serve=ledger.serve_alone)
    outer = RequestMetrics(inner, ledger=ledger, serve=ledger.serve_alone)

    seen = serve(outer)

    assert seen.events == serve(OK).events
    reading = ledger.read()
    assert reading is not None
    assert (reading.started, reading.finished) == (1, 1)
    assert [row.times for row in rows(reading)] == [1]


def test_a_request_through_two_ledgers_is_counted_by_the_outer_one() -> None:
    """With ledgers of their own, the one nearest to the server counts."""
    inner = Measured(OK)
    outer = Measured(inner.app)

    outer.ask()

    assert outer.row().times == 1
    inner.serve_alone()
    assert inner.reading().started == 0


def test_the_inner_application_names_the_route() -> None:
    """The route that the innermost application sets is the one that is booked."""

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        set_route(request, "/inner")
        return OK(request, start_response)

    outer = Measured(Measured(app).app)
    outer.ask()

    assert outer.row().route == "/inner"


def test_a_route_may_be_named_as_late_as_in_the_body() -> None:
    """set_route() counts until the body ends."""

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", list(TEXT))
        yield b"a"
        set_route(request, "/late")
        yield b"b"

    measured = Measured(app)
    measured.ask()

    assert measured.row().route == "/late"


@pytest.mark.parametrize(
    ("said", "route"), [(["x"], "['x']"), (b"/x", "b'/x'"), (7, "7"), (None, UNMATCHED)]
)
def test_a_route_that_is_no_text_loses_no_request(said: Any, route: str) -> None:  # noqa: ANN401
    """It is booked under its text; None takes back what was said before."""

    def app(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        set_route(request, "/before")
        set_route(request, said)
        return OK(request, start_response)

    measured = Measured(app)
    measured.ask()

    assert measured.row().route == route
    assert faults.seen() == {}


def test_excluded_paths_are_served_and_not_counted() -> None:
    """A path that is excluded passes untouched, its neighbours are counted."""
    measured = Measured(OK, excluded=lambda path: path.startswith("/static/"))

    assert measured.ask(environ(path="/static/x.css")).body == b"ok"
    assert measured.ask(environ(path="/statics")).body == b"ok"

    assert measured.row().times == 1


def test_endpoints_answer_instead_of_the_application() -> None:
    """Own endpoints are answered by their exact path, before the application, and not counted."""
    measured = Measured(OK, endpoints={"/health": answering(lambda: [b"well"])})

    answers = [measured.ask(environ(path=path)).body for path in ("/health", "/health/", "/x")]

    assert answers == [b"well", b"ok", b"ok"]
    assert measured.row().times == 2


def test_a_process_that_is_only_probed_serves() -> None:
    """The first request to an endpoint claims the slot as any other does, and is not counted."""
    measured = Measured(OK, endpoints={"/livez": answering(lambda: [b"alive"])})

    assert measured.ask(environ(path="/livez")).body == b"alive"

    assert measured.reading().started == 0


def test_a_request_without_a_path_is_measured() -> None:
    """A server that leaves PATH_INFO out is served all the same."""
    measured = Measured(OK, endpoints={"/health": OK})
    without = environ()
    del without["PATH_INFO"]

    assert measured.ask(without).body == b"ok"
    assert measured.row().times == 1


def test_without_a_pen_requests_pass_unmeasured() -> None:
    """Where nobody serves, the application answers as it is, and is asked again each time."""
    asked: list[None] = []
    measured = Measured(OK, serve=lambda: asked.append(None))

    for _ in range(3):
        seen = measured.ask()
        assert seen.events == serve(OK).events

    assert len(asked) == 3
    assert measured.ledger.read() is None


def test_a_process_serves_from_its_first_request_on() -> None:
    """The slot is claimed at the first request, and once."""
    asked: list[Pen] = []

    def begin() -> Pen:
        asked.append(measured.serve_alone())
        return asked[-1]

    measured = Measured(OK, serve=begin)
    for _ in range(3):
        measured.ask()

    assert len(asked) == 1
    assert measured.row().times == 3


def test_another_pen_is_followed() -> None:
    """When the process has another slot, requests are booked there; those under way nowhere."""
    measured = Measured(answering(lambda: Closing([b"x"])))
    measured.ask()
    begun: Any = measured.app(environ(), lambda *_: lambda _: None)

    measured.ledger.close()
    measured.ledger.serve_alone()
    begun.close()
    measured.ask()

    reading = measured.reading()
    assert (reading.started, reading.finished) == (1, 1)
    assert faults.seen() == {}


def test_a_slot_that_was_given_back_is_written_no_more() -> None:
    """What is in flight when the ledger is closed ends without a store: another owns the slot."""
    measured = Measured(answering(lambda: Closing([b"x"])))
    begun: Any = measured.app(environ(), lambda *_: lambda _: None)
    assert measured.ledger.pen is not None
    counts = measured.ledger.pen.counts
    before = bytes(counts)

    measured.ledger.close()
    begun.close()

    assert bytes(counts) == before
    assert faults.seen() == {}


def test_threads_lose_nothing() -> None:
    """Requests of eight threads at once are all counted, with all their bytes."""
    measured = Measured(answering(lambda: [b"ab", b"c"]))

    def ask() -> None:
        for _ in range(250):
            measured.ask()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert measured.row().times == measured.reading().started == 2000
    assert measured.histogram(RESPONSE_SIZE) == (2000, 6000)


FREE: Final = """
import signal, sys
sys._is_gil_enabled = lambda: False
from threading import Thread
from tests.apps.bodies import answering
from tests.wsgi_driver import Measured

measured = Measured(answering(lambda: [b"ab"]))
measured.ask()
signal.signal(signal.SIGALRM, lambda *_: measured.ask())
with measured.ledger.pen.lock:  # a handler that interrupts a recording does not wait for it
    signal.raise_signal(signal.SIGALRM)
threads = [Thread(target=lambda: [measured.ask() for _ in range(200)]) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(measured.row().times)
"""


def test_threads_take_turns_where_there_is_no_gil() -> None:
    """Without the GIL requests are booked under the pen's lock, which a handler may enter again."""
    done = subprocess.run(
        [sys.executable, "-c", FREE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("802\n", 0), done.stderr
