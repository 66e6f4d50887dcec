"""Queue time: what proxies stamp on a request, in whatever unit, and what clients make of it."""

from __future__ import annotations

import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.ledger.requests import QUEUE
from otelmon.middleware import arrival
from otelmon.middleware.arrival import queued_ns
from tests.apps.bodies import answering
from tests.wsgi_driver import Measured, environ


# 2026-03-01 12:00:00.5 UTC, in ns
NOW: Final = 1_772_366_400_500_000_000
LONGEST: Final = 60_000_000_000


@pytest.fixture(name="now")
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped:
        """A clock that stands at NOW."""

        @staticmethod
        def time_ns() -> int:
            """Return the time."""
            return NOW

    monkeypatch.setattr(arrival, "time", Stopped)


# A request that was stamped 1.25 s ago, as each proxy writes it.
STAMPS: Final = {
    "nginx": "1772366399.250",
    "nginx, t=": "t=1772366399.250",
    "seconds": "t=1772366399",
    "Heroku": "1772366399250",
    "Heroku, t=": "t=1772366399250",
    "milliseconds with a fraction": "1772366399250.125",
    "Apache": "t=1772366399250000",
    "Apache, bare": "1772366399250000",
    "spaces": "  t=1772366399.250 ",
}


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("header", ["HTTP_X_REQUEST_START", "HTTP_X_QUEUE_START"])
@pytest.mark.parametrize("name", STAMPS)
def test_every_proxy_s_stamp_is_read(name: str, header: str) -> None:
    """Seconds, milliseconds and microseconds are told apart by magnitude, with and without t=."""
    waited = queued_ns({header: STAMPS[name]})

    expected = 1_500_000_000 if name == "seconds" else 1_250_000_000
    assert waited == pytest.approx(expected, abs=1_000_000)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(
    ("stamp", "waited"),
    [
        ("1772366400.500", 0),
        ("1772366401", 0),  # clocks differ
        ("9999999999", 0),
        ("99999999999999999", 0),
        ("1772366340.500", LONGEST),
        ("1000000000", LONGEST),
        ("0000000000", LONGEST),
        ("0000000000000000", LONGEST),
    ],
)
def test_the_wait_is_kept_between_0_and_60_s(stamp: str, waited: int) -> None:
    """A stamp of the future is no wait, an ancient one is 60 s."""
    assert queued_ns({"HTTP_X_REQUEST_START": stamp}) == pytest.approx(waited, abs=1_000)


GARBAGE: Final = (
    *("", " ", "t=", "now", "t=now", "-1772366399", "+1772366399", "1772366399,5", "1.7e9"),
    *("17723663", "1772366399.", "t=t=1772366399", "1772366399 1772366399", "0x69a42b7f"),
    *("\u0661\u0667\u0667\u0662\u0663\u0666\u0666\u0663\u0669\u0669", "nan", "inf", "9" * 18),
    *("1772366399.1234567890", "t=1772366399.250, t=1772366399.260", "\x001772366399"),
)


@pytest.mark.parametrize("stamp", GARBAGE, ids=ascii)
def test_what_is_no_stamp_is_no_wait(stamp: str) -> None:
    """A header that is no stamp is ignored: nothing is booked, not even a wait of 0."""
    measured = Measured(answering(list))
    measured.ask(environ(HTTP_X_REQUEST_START=stamp))

    assert measured.histogram(QUEUE) == (0, 0)
    assert measured.row().times == 1


@given(st.text(max_size=30) | st.from_regex(r"(t=)?[0-9]{0,20}(\.[0-9]{0,12})?", fullmatch=True))
def test_no_header_raises_or_leaves_the_bounds(stamp: str) -> None:
    """Whatever a client sends, the wait is unknown or between 0 and 60 s."""
    waited = queued_ns({"HTTP_X_REQUEST_START": stamp})

    assert waited is None or 0 <= waited <= LONGEST


def test_the_first_header_goes_before_the_second() -> None:
    """X-Request-Start counts where both are there, X-Queue-Start where the first is empty."""
    ancient, future = "1000000000", "9999999999"

    def wait(first: str, second: str) -> int | None:
        return queued_ns({"HTTP_X_REQUEST_START": first, "HTTP_X_QUEUE_START": second})

    assert (wait(ancient, future), wait(future, ancient)) == (LONGEST, 0)
    assert wait("", ancient) == LONGEST


def test_the_wait_is_booked_once_for_all_routes() -> None:
    """Queue time has no attributes: it is the proxy's and the server's, not the application's."""
    measured = Measured(answering(list))
    for path in ("/a", "/b", "/c"):
        measured.ask(environ(path=path, HTTP_X_QUEUE_START=f"t={time.time_ns() // 10**9 - 10}"))
    measured.ask()

    waited = measured.histogram(QUEUE)
    assert waited.times == 3
    assert 3 * 9_000_000_000 < waited.total <= 3 * LONGEST
    reading = measured.reading()
    assert [
        one.attributes
        for one in reading.series
        if one.instrument == QUEUE and any(one.buckets(reading.lanes))
    ] == [()]
