"""Another thread that takes a slot away, or another memory up, in the midst of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otelmon.ledger.ledger import Ledger
from otelmon.metrics.api.provider import MeterProvider
from otelmon.metrics.api.synchronous import Counter, Histogram
from otelmon.middleware.requests import RequestMetrics
from tests.apps.bodies import answering
from tests.recorder import this_instance
from tests.striking import strikes
from tests.wsgi_driver import environ, serve


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opentelemetry.metrics import Meter

    from otelmon.ledger.instrument import Series
    from otelmon.ledger.reader import Reading

    Record = Callable[[], None]


ATTRIBUTES = {"shop": "north"}
# Where no lock is held that another thread would have to wait for.
FILES = ("/otelmon/metrics/api/", "/ledger/ledger.py", "/ledger/moving.py")


def _counter(meter: Meter) -> Record:
    counter = meter.create_counter("it")
    return lambda: counter.add(1, ATTRIBUTES)


def _floats(meter: Meter) -> Record:
    counter = meter.create_counter("it")
    return lambda: counter.add(0.5, ATTRIBUTES)


def _up_down(meter: Meter) -> Record:
    counter = meter.create_up_down_counter("it")
    return lambda: counter.add(1, ATTRIBUTES)


def _histogram(meter: Meter) -> Record:
    histogram = meter.create_histogram("it")
    return lambda: histogram.record(12.0, ATTRIBUTES)


def _bound_counter(meter: Meter) -> Record:
    counter = meter.create_counter("it")
    assert isinstance(counter, Counter)
    bound = counter.bind(ATTRIBUTES)
    return lambda: bound.add(1)


def _bound_histogram(meter: Meter) -> Record:
    histogram = meter.create_histogram("it")
    assert isinstance(histogram, Histogram)
    bound = histogram.bind(ATTRIBUTES)
    return lambda: bound.record(12.0)


KINDS = [_counter, _floats, _up_down, _histogram, _bound_counter, _bound_histogram]
"""Each records twelve, one, or a half"""


def _sums(ledger: Ledger) -> list[float]:
    """Return all that is shown of the instrument: counts, sums and values together."""
    reading = ledger.read()
    assert reading is not None
    return [
        figure
        for series in reading.series
        if series.instrument.name == "it"
        for figure in _figures(series, reading)
        if figure
    ]


def _figures(series: Series, reading: Reading) -> list[float]:
    of, lanes = series.instrument, [series.base]
    return [
        *reading.lanes[series.base : series.base + of.counts],
        *reading.sums[series.sums : series.sums + of.sums],
        *(sum(reading.values.get(lane, {}).values()) for lane in lanes[: of.values]),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_while_the_process_begins_to_serve_is_counted(
    kind: Callable[[Meter], Record],
) -> None:
    """At whatever moment of the first or second record another thread has it serve."""
    whole: list[float] = []
    for early in (0, 1):
        ledger = Ledger()
        for strike in strikes(lambda: ledger.serve_alone(), *FILES, begins=True, least=10):  # noqa: B023, PLW0108
            ledger = Ledger()
            record = kind(MeterProvider(ledger).get_meter("shop"))
            for _ in range(early):
                record()
            strike.run(record)
            if not strike.done:
                ledger.serve_alone()
            for _ in range(3 - early):
                record()
            whole = whole or _sums(ledger)
            assert _sums(ledger) == whole
            ledger.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_while_the_process_follows_its_file_is_counted(
    kind: Callable[[Meter], Record], tmp_path: Path
) -> None:
    """At whatever moment of a record another thread moves what was counted to another file."""
    ledger = Ledger()

    def remove() -> None:
        for path in tmp_path.iterdir():
            path.unlink()

    def move() -> None:
        remove()
        ledger.beat(draining=False)

    whole: list[float] = []
    for strike in strikes(move, *FILES, begins=True, least=1):
        ledger = Ledger()
        ledger.serve(tmp_path, this_instance())
        record = kind(MeterProvider(ledger).get_meter("shop"))
        record()
        record()
        strike.run(record)
        whole = whole or _sums(ledger)
        assert _sums(ledger) == whole
        ledger.close()
        remove()


def test_a_slot_that_was_given_back_is_written_no_more() -> None:
    """At whatever moment of a request another thread closes the monitor."""
    ledger = Ledger()
    after = b""

    def close() -> None:
        nonlocal after
        ledger.close()
        after = bytes(counts)

    for strike in strikes(close, "/otelmon/middleware/", begins=True, least=10):
        ledger = Ledger()
        counts = ledger.serve_alone().counts
        app = RequestMetrics(answering(lambda: [b"ok"]), ledger=ledger, serve=lambda: None)
        serve(app)
        headers = environ(CONTENT_LENGTH="3", HTTP_X_REQUEST_START="t=1")
        strike.run(lambda app=app, headers=headers: serve(app, headers))  # type: ignore[misc]
        if strike.done:
            assert bytes(counts) == after
