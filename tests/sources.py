"""An instance in miniature for tests of what is shown of one: a ledger, a board, settings."""

from __future__ import annotations

import time
import warnings
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import WSGIWarning, validator

from otelmon.board import Point, Published
from otelmon.ledger.layout import LANE_STARTED
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.reader import Worker
from otelmon.ledger.requests import DURATION
from otelmon.settings import Settings


if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed.wsgi import WSGIApplication

    from otelmon.ledger.instrument import Attribute, Instrument, Series
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.past import Past


SECOND = 1_000_000_000
HOST: dict[str, int | float | None] = {
    "cpu_percent": 25.5,
    "cpu_count": 8,
    "memory_total": 17_179_869_184,
    "memory_used": 8_589_934_592,
    "memory_percent": 50.0,
    "memory_available": 8_589_934_592,
    "disk_total": 500_000_000_000,
    "disk_used": 300_000_000_000,
    "disk_percent": 60.0,
    "disk_free": 200_000_000_000,
    "network_bytes_sent": 1_024_000,
    "network_bytes_recv": 2_048_000,
    "load_avg": 1.5,
    "process_count": 150,
    "thread_count": 300,
}


def worker(slot: int = 0, **changes: object) -> Worker:
    """Return a live worker that does nothing."""
    idle = Worker(
        slot=slot,
        pid=4711 + slot,
        claimed=0.0,
        beat_age=0.5,
        capacity=4,
        draining=False,
        started=0,
        in_flight=0,
        oldest_age=None,
    )
    return replace(idle, **changes)  # type: ignore[arg-type]


class Counts:
    """A private ledger, written as a worker writes it."""

    def __init__(
        self, *, series_limit: int = 2000, total_limit: int = 10_000, capacity: int = 4
    ) -> None:
        """Serve."""
        self.ledger = Ledger(series_limit=series_limit, total_limit=total_limit)
        self.pen = self.ledger.serve_alone(capacity=capacity)

    def series(self, instrument: Instrument, attributes: Mapping[str, Attribute]) -> Series:
        """Return the series to record to."""
        found = self.ledger.series(instrument, tuple(sorted(attributes.items())))
        assert found is not None
        return found

    def add(self, instrument: Instrument, amount: int = 1, **attributes: Attribute) -> None:
        """Add to a counter."""
        self.pen.add([(self.series(instrument, attributes).base, amount)])

    def set(self, instrument: Instrument, value: float, **attributes: Attribute) -> None:
        """Set a gauge."""
        self.pen.values[self.series(instrument, attributes).base] = value

    def record(
        self, instrument: Instrument, value: int, attributes: Mapping[str, Attribute]
    ) -> None:
        """Record to a histogram, in units of its scale."""
        series = self.series(instrument, attributes)
        assert instrument.scale is not None
        bounds = [round(bound / instrument.scale) for bound in instrument.bounds]
        last = series.base + len(bounds) + 1
        self.pen.add([(series.base + bisect_left(bounds, value), 1), (last, value)])

    def begin(self) -> None:
        """Begin a request."""
        self.pen.add([(LANE_STARTED, 1)])
        self.pen.live[time.monotonic_ns()] = None

    def request(
        self,
        route: str = "/",
        *,
        method: str = "GET",
        status: int | str = 200,
        error: str | None = None,
        outcome: str = "ok",
        took: int = SECOND // 100,
    ) -> None:
        """Begin and finish a request that took so many ns."""
        attributes: dict[str, Attribute] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "otelmon.outcome": outcome,
        }
        if error is not None:
            attributes["error.type"] = error
        self.pen.add([(LANE_STARTED, 1)])
        self.record(DURATION, took, attributes)

    def read(self) -> Reading:
        """Return what was counted, as of a worker that has just beaten."""
        self.ledger.beat(draining=False)
        reading = self.ledger.read()
        assert reading is not None
        return reading


def published(**changes: Any) -> Published:  # noqa: ANN401 - fields of Published
    """Return a board of this moment: 12.5 requests a second, 0.5 % errors, 125.3 ms each."""
    now = time.monotonic_ns()
    fields: dict[str, Any] = {
        "at": 1_768_204_800.25,
        "monotonic": now,
        "interval": 10.0,
        "keeper": 3,
        "host": HOST,
        "points": (
            Point(now - 160 * SECOND, 0, 0, 0),
            Point(now - 80 * SECOND, 1_000, 10, 5 * SECOND),
            Point(now, 2_000, 15, 5 * SECOND + 125_300_000_000),
        ),
        "backlog": 2,
    }
    return Published(**(fields | changes))


@dataclass
class FakeSource:
    """A source whose answers are set by the test; an exception is raised instead of returned."""

    settings: Settings = field(default_factory=Settings)
    counted: Reading | BaseException | None = None
    said: Published | None = None
    kept: Past | None = None
    ends: bool = False
    port_state: Mapping[str, object] = field(default_factory=lambda: {"state": "off"})

    def reading(self) -> Reading | None:
        """Return what was set."""
        if isinstance(self.counted, BaseException):
            raise self.counted
        return self.counted

    def published(self) -> Published | None:
        """Return what was set."""
        return self.said

    def past(self) -> Past | None:
        """Return what was set."""
        if isinstance(self.counted, BaseException):
            raise self.counted
        return self.kept

    def draining(self) -> bool:
        """Return what was set."""
        return self.ends

    def adopted(self) -> str:
        """Say that it is."""
        return "global"

    def dropped(self) -> int:
        """Return none."""
        return 0

    def port(self) -> Mapping[str, object]:
        """Return what was set."""
        return self.port_state


class Answer(NamedTuple):
    """What a server sends."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(app: WSGIApplication, path: str, method: str = "GET", **environ: str) -> Answer:
    """Ask *app*, under the eyes of wsgiref's validator."""
    given: dict[str, Any] = {}
    setup_testing_defaults(given)
    given |= {"PATH_INFO": path, "REQUEST_METHOD": method, "QUERY_STRING": "", **environ}
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None, /
    ) -> Any:  # noqa: ANN401 - the validator asks for a write
        started.append((status, headers))
        return lambda _: None

    with warnings.catch_warnings():
        # Of methods that it does not know the validator only warns.
        warnings.simplefilter("ignore", WSGIWarning)
        body = validator(app)(given, start_response)
    try:
        data = b"".join(body)
    finally:
        body.close()  # type: ignore[attr-defined]
    ((status, headers),) = started
    assert len(dict(headers)) == len(headers) or "WWW-Authenticate" in dict(headers)
    return Answer(int(status[:3]), dict(headers), data)
