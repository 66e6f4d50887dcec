"""What clients choose makes no series, and what the application makes without end has an end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import faults, set_route
from otelmon.ledger.instrument import OVERFLOW
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import ALL, DURATION, FIRST_BYTE
from otelmon.middleware import cells
from otelmon.middleware.cells import METHODS, status_code
from otelmon.middleware.requests import RequestMetrics
from otelmon.middleware.routes.template import ROUTE
from tests.apps.bodies import TEXT, answering
from tests.wsgi_driver import Measured, Row, environ, serve


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from otelmon.ledger.instrument import Attributes, Instrument, Series
    from otelmon.middleware.cells import CellCache


def routed(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer on a route and with a status that the environ names, or fail as it says."""
    set_route(request, request["test.route"])
    if "test.raise" in request:
        raise request["test.raise"]
    start_response(request.get("test.status", "200 OK"), list(TEXT))
    return [b"x"]


def to(route: Any, **more: Any) -> WSGIEnvironment:  # noqa: ANN401 - also what no route should be
    """Return a request to `routed`."""
    return environ() | {"test.route": route} | {f"test.{name}": more[name] for name in more}


def cache(measured: Measured) -> CellCache:
    """Return what the middleware keeps of past requests."""
    found = measured.metrics._cells
    assert found is not None
    return found


def test_clients_make_no_series() -> None:
    """1,000 spoofed hosts, methods, paths and agents end in `_OTHER` and `{unmatched}`."""
    measured = Measured(answering(lambda: [b"x"], status="404 Not Found"))
    for number in range(1000):
        measured.ask(
            environ(
                method=f"M{number}" if number % 2 else "GET",
                path=f"/{number}/\u00e9{number}",
                QUERY_STRING=f"q={number}",
                HTTP_HOST=f"host-{number}.test",
                HTTP_USER_AGENT=f"agent {number}",
                HTTP_X_FORWARDED_FOR=f"10.0.{number // 256}.{number % 256}",
                SERVER_NAME=f"host-{number}.test",
                SERVER_PORT=str(number),
                CONTENT_TYPE=f"type/{number}",
            )
        )

    assert measured.rows() == [
        Row("GET", "{unmatched}", 404, "ok", None, 500),
        Row("_OTHER", "{unmatched}", 404, "ok", None, 500),
    ]
    own = [one for one in measured.reading().series if one.attributes != OVERFLOW]
    assert len(own) <= 2 * len(ALL)
    assert len(cache(measured)) == 1


@pytest.mark.parametrize("method", ["get", "_OTHER", "", "GETS", "G\u00cbT", "\ud800"])
def test_only_known_methods_are_named(method: str) -> None:
    """A method that the conventions do not list, in capitals, is `_OTHER`."""
    measured = Measured(answering(list))
    measured.ask(environ(method))

    assert measured.row().method == "_OTHER"


@pytest.mark.parametrize("method", sorted(METHODS))
def test_known_methods_keep_their_name(method: str) -> None:
    """The methods of the conventions stay what they are, also as a string of its own."""
    measured = Measured(answering(list))
    measured.ask(environ("".join(list(method))))

    assert measured.row().method == method


def test_routes_without_end_overflow_with_exact_totals() -> None:
    """Past the limit requests go to the overflow series; none is lost, and little is remembered."""
    measured = Measured(routed, series_limit=50)
    for number in range(500):
        measured.ask(to(f"/made/{number}"))
    for number in range(500):
        measured.ask(to(f"/made/{number % 10}"))

    rows = {row.route: row.times for row in measured.rows()}
    assert rows["overflow"] == 450
    assert rows["/made/0"] == rows["/made/9"] == 51
    assert rows["/made/10"] == rows["/made/49"] == 1
    assert len(rows) == 51
    assert measured.histogram(DURATION).times == measured.histogram(FIRST_BYTE).times == 1000
    assert measured.reading().lost == 0
    assert len(cache(measured)) == len(cache(measured)._found) == 50


def test_words_without_end_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status line that is new each time makes one series, and a bounded memory of its words."""
    monkeypatch.setattr(cells, "_MAX_KNOWN", 20)
    measured = Measured(routed)
    for number in range(100):
        measured.ask(to("/x", status=f"200 Fine {number}"))

    assert measured.row() == ("GET", "/x", 200, "ok", None, 100)
    assert len(cache(measured)) == 20
    assert len(cache(measured)._found) == 1


def test_exception_classes_without_end_have_an_end() -> None:
    """After 100 classes of exceptions the others are `_OTHER`; all are counted."""
    measured = Measured(routed)
    for number in range(300):
        measured.ask(to("/x", **{"raise": type(f"Error{number}", (Exception,), {})()}))
    measured.ask(to("/x", **{"raise": type("Error0", (Exception,), {})()}))

    times = {row.error: row.times for row in measured.rows()}
    assert len(times) == 101
    assert times["_OTHER"] == 200
    assert times["Error0"] == 2
    assert times["Error99"] == 1


class Rendezvous(Ledger):
    """Has no series for /first for now, and finds the rest of it after that of /second."""

    def __init__(self) -> None:
        """Nobody was here."""
        super().__init__()
        self.first, self.second = threading.Event(), threading.Event()

    def series(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Find a series."""
        route = dict(attributes).get("http.route")
        if instrument == DURATION and route == "/first":
            attributes = OVERFLOW
        if instrument == FIRST_BYTE and route == "/first":
            self.first.set()
            self.second.wait(30)
        found = super().series(instrument, attributes)
        if instrument == DURATION and route == "/second":
            self.second.set()
        return found


def test_what_overflows_for_now_is_not_kept_for_ever() -> None:
    """A kind that got no series while another thread's did is looked up again next time."""
    ledger = Rendezvous()
    app = RequestMetrics(routed, ledger=ledger, serve=ledger.serve_alone)
    serve(app, to("/before"))

    first = threading.Thread(target=lambda: serve(app, to("/first")))
    first.start()
    assert ledger.first.wait(30)
    serve(app, to("/second"))
    first.join(30)

    assert app._cells is not None
    assert {words[1] for words in app._cells} == {"/before", "/second"}


WEIRD = {
    "200": 200,
    "200 OK": 200,
    "2000 OK": 200,
    "299 Whatever": 299,
    "999 Beyond": 999,
    "000 Nothing": 0,
    "\uff12\uff10\uff10 wide": 200,
    "\u00b2\u00b2\u00b2": "_OTHER",
    "": "_OTHER",
    "2": "_OTHER",
    "20": "_OTHER",
    "OK": "_OTHER",
    " 200 OK": "_OTHER",
    "-20": "_OTHER",
    "2 0": "_OTHER",
    "\ud800\ud800\ud800": "_OTHER",
}


@pytest.mark.parametrize("status", WEIRD, ids=ascii)
def test_weird_statuses_are_numbers_or_other(status: str) -> None:
    """A status line that does not begin with three digits is `_OTHER`, and is counted."""
    measured = Measured(routed)
    measured.ask(to("/x", status=status))

    assert measured.row().status == WEIRD[status] == status_code(status)
    assert measured.row().error == ("999" if status.startswith("999") else None)


@pytest.mark.parametrize(
    ("route", "shown"),
    [
        ("/orders/<id>", "/orders/<id>"),
        ("", "{unmatched}"),
        (None, "{unmatched}"),
        ('/\u00e9/\u4e2d\n"\\', '/\u00e9/\u4e2d\n"\\'),
        ("\ud800", "\ud800"),
        (42, "42"),
        (b"/raw", "b'/raw'"),
        ("/long" * 1000, "/long" * 1000),
    ],
    ids=ascii,
)
def test_a_route_is_any_text(route: Any, shown: str) -> None:  # noqa: ANN401 - also no text
    """Whatever an application names as its route is shown as text."""
    measured = Measured(routed)
    measured.ask(to(route))
    measured.ask(to(route))

    assert measured.row() == ("GET", shown, 200, "ok", None, 2)


def test_a_route_that_cannot_be_looked_up_is_lost_not_in_flight(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A request that cannot be booked is passed on, counted as lost, and logged once."""

    def misled(request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = routed(request, start_response)
        request[ROUTE] = ["no", "key"]
        return answer

    measured = Measured(misled)

    seen = [measured.ask(to("/orders")) for _ in range(3)]

    assert [one.body for one in seen] == [b"x"] * 3
    reading = measured.reading()
    assert (reading.started, reading.finished, reading.lost, reading.in_flight) == (3, 0, 3, 0)
    assert faults.seen()["request_end"].times == 3
    assert [record.name for record in caplog.records] == ["otelmon"]
