"""When otelmon itself fails, the application answers as ever, and it is said once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otelmon import faults
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.requests import DURATION
from otelmon.middleware import request
from otelmon.middleware.requests import RequestMetrics
from tests.apps.bodies import answering
from tests.wsgi_driver import Measured, environ, serve


if TYPE_CHECKING:
    from collections.abc import Callable

    from otelmon.ledger.instrument import Attributes, Instrument, Series

OK = answering(lambda: [b"ok"])


class PlannedError(Exception):
    """Otelmon's own failure, on purpose."""


class BrokenLedger(Ledger):
    """Finds no series, one way or another."""

    def __init__(self, find: Callable[[], Series | None]) -> None:
        """Fail by what *find* does."""
        super().__init__()
        self._find = find

    def series(self, instrument: Instrument, attributes: Attributes) -> Series | None:
        """Fail."""
        return self._find()


def _raise() -> Any:  # noqa: ANN401 - nothing comes back
    raise PlannedError


@pytest.mark.parametrize("find", [_raise, lambda: None], ids=["raises", "has no lanes"])
def test_a_ledger_that_fails_is_said_once(
    find: Callable[[], Series | None], caplog: pytest.LogCaptureFixture
) -> None:
    """The application answers as ever; the failure is logged once and counted, the request lost."""
    ledger = BrokenLedger(find)
    app = RequestMetrics(OK, ledger=ledger, serve=ledger.serve_alone)

    for _ in range(5):
        assert serve(app).events == serve(OK).events

    reading = ledger.read()
    assert reading is not None
    assert (reading.started, reading.finished, reading.lost) == (5, 0, 5)
    assert reading.in_flight == 0
    assert faults.seen()["request_end"].times == 5
    assert len(caplog.records) == 1


def test_a_failing_start_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A process that cannot serve answers unmeasured."""
    measured = Measured(OK, serve=_raise)

    for _ in range(5):
        assert measured.ask().events == serve(OK).events

    assert faults.seen()["request_begin"].times == 5
    assert faults.seen()["request_begin"].error == "PlannedError"
    assert len(caplog.records) == 1


def test_a_failing_measurement_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When a request cannot even be begun, the application gets the server's start_response."""
    measured = Measured(OK)
    measured.ask()
    monkeypatch.setattr(request, "queued_ns", lambda _: _raise())

    seen = measured.ask(environ(HTTP_X_REQUEST_START="t=1"))

    assert seen.events == serve(OK).events
    assert measured.row().times == 1
    assert faults.seen()["request_begin"].times == 1
    assert len(caplog.records) == 1


def test_a_failing_route_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A framework whose route cannot be read leaves the request unmatched."""
    monkeypatch.setattr(request, "matched", lambda _: _raise())
    measured = Measured(OK)

    seen = measured.ask(environ() | {"werkzeug.request": object()})

    assert seen.body == b"ok"
    assert measured.row().route == "{unmatched}"
    assert faults.seen()["request_route"].times == 1
    assert len(caplog.records) == 1


def test_a_size_that_is_no_text_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A server that hands over a number as CONTENT_LENGTH loses that figure, not the request."""
    measured = Measured(OK)

    assert measured.ask(environ(CONTENT_LENGTH=12)).body == b"ok"

    assert measured.row().times == 1
    assert measured.histogram(DURATION).times == 1
    assert faults.seen()["request_end"].times == 1
    assert len(caplog.records) == 1


def test_a_request_without_a_method_is_lost() -> None:
    """A server that leaves REQUEST_METHOD out is served; the request is lost, not in flight."""
    measured = Measured(OK)
    without = environ()
    del without["REQUEST_METHOD"]

    assert measured.ask(without).body == b"ok"

    reading = measured.reading()
    assert (reading.started, reading.lost, reading.in_flight) == (1, 1, 0)


def test_a_probe_is_answered_though_the_process_cannot_serve() -> None:
    """An endpoint answers when no slot can be had, however that fails."""
    measured = Measured(OK, endpoints={"/livez": answering(lambda: [b"alive"])}, serve=_raise)

    assert measured.ask(environ(path="/livez")).body == b"alive"

    assert faults.seen()["request_begin"].times == 1
