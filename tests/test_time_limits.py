"""Time limits of the application's: a signal handler that raises, wherever it strikes."""

from __future__ import annotations

import functools
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from otelmon import faults
from otelmon.handlers import is_from_handler
from otelmon.ledger.ledger import Ledger
from otelmon.ledger.quota_file import private_quotas
from otelmon.ledger.quotas import Asked
from otelmon.metrics.api.provider import MeterProvider
from otelmon.middleware.requests import RequestMetrics
from tests.apps.bodies import answering
from tests.recorder import COUNTER
from tests.striking import strikes
from tests.wsgi_driver import environ


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from opentelemetry.metrics import Meter


REQUEST = tuple(f"/middleware/{name}.py" for name in ("requests", "request", "cells", "arrival"))


class TooLongError(Exception):
    """The application's own limit."""


def _limit(_: int, __: FrameType | None) -> None:
    raise TooLongError


def _strike() -> None:
    signal.raise_signal(signal.SIGUSR1)


@pytest.fixture(autouse=True)
def _limited() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, _limit)
    yield
    signal.signal(signal.SIGUSR1, before)


def _request(app: RequestMetrics) -> None:
    """Make one, as a server does: it closes what it was given."""
    body: Iterable[bytes] = app(
        environ(CONTENT_LENGTH="3", HTTP_X_REQUEST_START="t=1"), lambda *_: lambda _: None
    )
    try:
        for _ in body:
            pass
    finally:
        body.close()  # type: ignore[attr-defined]


def test_a_request_that_a_limit_ends_is_neither_in_flight_nor_silent() -> None:
    """Wherever it strikes, the limit comes out, and the request is finished or lost."""
    ledger = Ledger()
    app = RequestMetrics(answering(lambda: [b"ok"]), ledger=ledger, serve=ledger.serve_alone)
    _request(app)

    for strike in strikes(_strike, *REQUEST, least=8):
        try:
            strike.run(lambda: _request(app))
        except TooLongError:
            assert strike.done
        else:
            assert not strike.done, "The limit was swallowed."
        reading = ledger.read()
        assert reading is not None
        assert reading.in_flight == 0
        assert ledger.pen is not None
        assert not ledger.pen.live

    assert not faults.seen()


def test_a_limit_that_strikes_a_first_request_comes_out() -> None:
    """Also where the process begins to serve, and where the places of its figures are found."""
    ended = 0
    for strike in strikes(_strike, *REQUEST, "/ledger/hold.py", least=20):
        ledger = Ledger()
        app = RequestMetrics(answering(lambda: [b"ok"]), ledger=ledger, serve=ledger.serve_alone)
        try:
            strike.run(lambda app=app: _request(app))  # type: ignore[misc]
        except TooLongError:
            ended += 1
        else:
            assert not strike.done, "The limit was swallowed."
        ledger.close()
    assert ended


def _counter(meter: Meter, number: int) -> None:
    meter.create_counter("orders").add(1, {"number": number})


def _histogram(meter: Meter, number: int) -> None:
    meter.create_histogram("wait").record(number, {"number": number})


def _gauge(meter: Meter, number: int) -> None:
    meter.create_gauge("level").set(number)


@pytest.mark.parametrize("record", [_counter, _histogram, _gauge])
def test_a_limit_that_strikes_a_record_comes_out(record: Callable[[Meter, int], None]) -> None:
    """It ends what it was set for, and is no fault of ours."""
    ledger = Ledger()
    ledger.serve_alone()
    meter = MeterProvider(ledger).get_meter("shop")
    record(meter, -1)

    for number, strike in enumerate(strikes(_strike, "/otelmon/metrics/api/", "/ledger/hold.py")):
        try:
            strike.run(functools.partial(record, meter, number))
        except TooLongError:
            assert strike.done
        else:
            assert not strike.done, "The limit was swallowed."

    assert not faults.seen()


def test_a_limit_that_strikes_a_hit_leaves_no_lock() -> None:
    """The next client of the same part of the limits' memory is asked at once, in any thread."""
    quotas = private_quotas()
    asked = [Asked(quotas.key("client"), 10**6, 10**9)]

    with ThreadPoolExecutor(1) as pool:
        for strike in strikes(_strike, "/ledger/stripes.py", "/ledger/quotas.py"):
            try:
                strike.run(lambda: quotas.hit(asked))
            except TooLongError:
                assert strike.done
            pool.submit(quotas.hit, asked).result()


def test_a_limit_that_strikes_a_new_series_keeps_no_other_thread_out() -> None:
    """Not even while its error is kept; what is new is placed by others as before."""
    ledger = Ledger()
    ledger.serve_alone()
    keys = ledger.holding().keys
    kept = []

    with ThreadPoolExecutor(1) as pool:
        for number, strike in enumerate(strikes(_strike, "/ledger/keys.py", "contextlib.py")):
            try:
                strike.run(lambda number=number: keys.place(COUNTER, (("n", number),)))  # type: ignore[misc]
            except TooLongError as error:
                kept.append(error)
            placed = pool.submit(keys.place, COUNTER, (("other", number),))
            assert placed.result(timeout=60) is not None

    assert kept


class _Handler:
    def __call__(self, number: int, frame: FrameType | None) -> None:
        _limit(number, frame)

    def handle(self, number: int, frame: FrameType | None) -> None:
        self(number, frame)


@pytest.mark.parametrize(
    "handler",
    [
        _limit,
        _Handler(),
        _Handler().handle,
        functools.partial(_limit),
        lambda number, _: _limit(number, None),
    ],
    ids=["function", "object", "method", "partial", "lambda"],
)
def test_a_handler_is_known_by_what_it_runs(handler: Callable[..., None]) -> None:
    """Whatever kind of callable it is; an error that only looks like its is none."""
    signal.signal(signal.SIGUSR1, handler)
    with pytest.raises(TooLongError) as struck:
        _strike()
    assert is_from_handler(struck.value)
    assert not is_from_handler(TooLongError())


def _amount() -> float:
    raise TooLongError


def test_an_error_of_the_applications_own_amount_is_a_fault_still() -> None:
    """What is no handler's goes no further than before."""

    class Amount:
        __float__ = staticmethod(_amount)

    ledger = Ledger()
    ledger.serve_alone()
    meter = MeterProvider(ledger).get_meter("shop")
    meter.create_counter("orders").add(Amount())  # type: ignore[arg-type]

    assert faults.seen()["metric"].times == 1
