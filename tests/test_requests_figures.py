"""Durations and sizes: what is measured, from when to when, and what is no figure at all."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelmon.ledger import layout
from otelmon.ledger.requests import (
    DURATION,
    FIRST_BYTE,
    QUEUE,
    REQUEST_SIZE,
    RESPONSE_SIZE,
    SECONDS,
    SIZES,
)
from otelmon.middleware import request
from tests.apps import bodies
from tests.apps.bodies import TEXT, Closing, answering
from tests.wsgi_driver import Measured, Server, environ


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from otelmon.ledger.instrument import Instrument


class Clock:
    """A monotonic clock that goes on only when told."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 5_000_000_000

    def __call__(self) -> int:
        """Return the time in ns."""
        return self.now

    def pass_ns(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.now += nanoseconds


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(request, "monotonic_ns", clock)
    return clock


def buckets(measured: Measured, instrument: Instrument) -> dict[float, int]:
    """Return how many fell under which bound of an instrument; infinity has those beyond."""
    reading = measured.reading()
    (series,) = (
        one
        for one in reading.series
        if one.instrument == instrument and any(one.buckets(reading.lanes))
    )
    bounds = (*instrument.bounds, float("inf"))
    return {bound: n for bound, n in zip(bounds, series.buckets(reading.lanes), strict=True) if n}


def test_first_byte_and_whole_are_measured_from_the_call(clock: Clock) -> None:
    """Time to first byte ends at the first piece that is not empty, the duration at the close."""

    def pieces() -> Iterator[bytes]:
        clock.pass_ns(1_000)
        yield b""
        clock.pass_ns(20_000_000)
        yield b"first"
        clock.pass_ns(300_000_000)
        yield b"last"
        clock.pass_ns(4_000_000_000)

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        clock.pass_ns(7)
        start_response("200 OK", list(TEXT))
        return Closing(pieces(), lambda: clock.pass_ns(50_000_000_000))

    measured = Measured(app)
    measured.ask()

    assert measured.histogram(FIRST_BYTE) == (1, 20_001_007)
    assert measured.histogram(DURATION) == (1, 54_320_001_007)
    assert buckets(measured, FIRST_BYTE) == {0.025: 1}
    assert buckets(measured, DURATION) == {float("inf"): 1}


def test_a_list_has_its_first_byte_when_the_server_takes_it(clock: Clock) -> None:
    """The time before the server asks for a list counts; its later pieces change nothing."""

    class Slow(Server):
        def write(self, data: bytes) -> None:
            super().write(data)
            clock.pass_ns(1_000)

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        clock.pass_ns(30)
        start_response("200 OK", list(TEXT))
        return [b"", b"a", b"b"]

    measured = Measured(app)
    Slow().serve(measured.app, environ())

    assert measured.histogram(FIRST_BYTE) == (1, 1_030)
    assert measured.histogram(DURATION) == (1, 3_030)


def test_written_data_has_its_first_byte_when_it_is_written(clock: Clock) -> None:
    """write() counts as the first byte, the empty one before it does not."""

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", list(TEXT))
        write(b"")
        clock.pass_ns(10)
        write(b"a")
        clock.pass_ns(100)
        return [b"b"]

    measured = Measured(app)
    measured.ask()

    assert measured.histogram(FIRST_BYTE) == (1, 10)
    assert measured.histogram(DURATION) == (1, 110)


@pytest.mark.parametrize("bound", SECONDS)
def test_a_bound_belongs_to_the_bucket_below_it(clock: Clock, bound: float) -> None:
    """A duration equal to a bound is counted under it, one ns more in the next bucket."""
    nanoseconds = round(bound * 1e9)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        clock.pass_ns(environ["test.ns"])
        start_response("200 OK", list(TEXT))
        return []

    measured = Measured(app)
    measured.ask(environ() | {"test.ns": nanoseconds})
    assert buckets(measured, DURATION) == {bound: 1}

    measured.ask(environ() | {"test.ns": nanoseconds + 1})
    assert sorted(buckets(measured, DURATION)) == [bound, next_bound(DURATION, bound)]
    assert measured.histogram(DURATION).total == 2 * nanoseconds + 1


def next_bound(instrument: Instrument, bound: float) -> float:
    """Return the bound that follows."""
    bounds = (*instrument.bounds, float("inf"))
    return bounds[bounds.index(bound) + 1]


def test_a_stream_is_measured_to_its_end() -> None:
    """A stream of half a second takes as much longer than its first byte."""

    def pieces() -> Iterator[bytes]:
        for _ in range(5):
            yield b"piece"
            threading.Event().wait(0.1)

    measured = Measured(answering(pieces))
    measured.ask()

    first_byte, duration = (measured.histogram(each).total for each in (FIRST_BYTE, DURATION))
    assert duration - first_byte >= 500_000_000
    assert measured.histogram(RESPONSE_SIZE) == (1, 25)


def test_a_failure_is_measured_to_the_moment_it_leaves(clock: Clock) -> None:
    """The duration of an exception is the time until it left the application."""

    def app(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
        clock.pass_ns(42)
        raise bodies.PlannedError

    measured = Measured(app)
    measured.ask()

    assert measured.histogram(DURATION) == (1, 42)
    assert measured.histogram(FIRST_BYTE) == (0, 0)


@pytest.mark.parametrize("declared", ["0", "1", "128", "129", " 17 ", "999999999999999"])
def test_the_declared_length_is_the_size_of_a_request(declared: str) -> None:
    """Content-Length is the size of the request's body."""
    measured = Measured(answering(list))
    measured.ask(environ("POST", CONTENT_LENGTH=declared))

    size = int(declared)
    under = next((bound for bound in SIZES if size <= bound), float("inf"))
    assert measured.histogram(REQUEST_SIZE) == (1, size)
    assert buckets(measured, REQUEST_SIZE) == {under: 1}


NO_LENGTHS: Final = (
    *("", " ", "-1", "+5", "1.5", "1e3", "0x10", "1_000", "1 2", "twelve", "\x00", "1\n2"),
    *("\u0661\u0662\u0663", "\uff11\uff12", "\u00b2", "9" * 16, "9" * 5000, "\ud800"),
)


@pytest.mark.parametrize("declared", NO_LENGTHS, ids=ascii)
def test_what_is_no_length_is_no_size(declared: str) -> None:
    """A Content-Length that is garbage, negative, huge or in other digits is ignored."""
    measured = Measured(answering(list))
    measured.ask(environ("POST", CONTENT_LENGTH=declared))

    assert measured.histogram(REQUEST_SIZE) == (0, 0)
    assert measured.row().times == 1


def test_clients_cannot_make_a_lane_run_over() -> None:
    """The largest lengths and waits, told for ever, leave the sums of all slots below 2**64."""
    measured = Measured(answering(list))
    largest = {"CONTENT_LENGTH": "9" * 15, "HTTP_X_REQUEST_START": "t=1000000000"}
    measured.ask(environ("POST", **largest))
    pen = measured.ledger.pen
    assert pen is not None
    reading = measured.reading()
    sums = [
        series.base + series.instrument.counts - 1
        for series in reading.series
        if series.instrument in (REQUEST_SIZE, QUEUE) and series.total(reading.lanes)
    ]
    for lane in sums:
        pen.counts[lane] += layout.LANE_LIMIT - pen.counts[lane] - 1

    seen = []
    for _ in range(3):
        measured.ask(environ("POST", **largest))
        seen.append([pen.counts[lane] for lane in sums])

    assert seen[0] == seen[1] == seen[2]
    assert [layout.SLOTS * total < 2**64 for total in seen[2]] == [True, True]
    assert measured.histogram(REQUEST_SIZE).times == measured.histogram(QUEUE).times == 4


def test_a_chunked_request_has_no_known_size() -> None:
    """Without Content-Length the size of a request is not known, and not booked as 0."""
    measured = Measured(answering(list))
    measured.ask(environ("POST", HTTP_TRANSFER_ENCODING="chunked"))

    assert measured.histogram(REQUEST_SIZE) == (0, 0)
    assert measured.row().times == 1


RESPONSES: Final[dict[str, tuple[Callable[[], Any], int]]] = {
    "nothing": (list, 0),
    "list": (lambda: [b"a" * 128], 128),
    "bytearray": (lambda: iter([bytearray(b"abc")]), 3),
    "pieces": (lambda: (b"a" * 100, b"b" * 100), 200),
    "generator": (lambda: (b"x" * 1000 for _ in range(10)), 10_000),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_the_size_of_a_response_is_what_the_server_got(name: str) -> None:
    """The size of a response is the sum of its pieces, whatever its headers declare."""
    body, size = RESPONSES[name]
    measured = Measured(answering(body, headers=[("Content-Length", "77"), *TEXT]))
    measured.ask()

    assert measured.histogram(RESPONSE_SIZE) == (1, size)


def test_the_size_of_a_broken_off_response_is_what_was_handed_over() -> None:
    """Of a list that the client did not want to the end, only what was asked for counts."""
    measured = Measured(answering(lambda: [b"ab", b"cde", b"f" * 100]))
    measured.ask(patience=1)

    assert measured.histogram(RESPONSE_SIZE) == (1, 5)
