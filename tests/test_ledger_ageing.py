"""Series that nobody records to make room for others, and no counter falls for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from otelmon.ledger import reader
from otelmon.ledger.ageing import Ageing
from otelmon.ledger.instrument import OVERFLOW, Instrument
from otelmon.ledger.keys import Keys
from otelmon.ledger.requests import DURATION
from otelmon.metrics import rows
from otelmon.metrics.prometheus import Renderer
from tests.forks import Child
from tests.gunicorn_server import Gunicorn
from tests.recorder import Recorder, this_instance
from tests.scrapes import samples
from tests.sources import Counts
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path

    from otelmon.ledger.instrument import Attributes, Known


HOUR = 3600
ORDERS = Instrument("orders", "counter", "", "", (), None)
HEAT = Instrument("heat", "gauge", "", "", (), None)


class Aged(Counts):
    """A private ledger whose keeper has a clock of the test's."""

    def __init__(self, **limits: int) -> None:
        """Begin at no age."""
        super().__init__(**limits)
        self.ageing = Ageing(HOUR)
        self.now = 0

    def wait(self, seconds: int) -> None:
        """Let time pass, and the keeper look."""
        self.now += seconds * 1_000_000_000
        self.ledger.age(self.ageing, replace(self.read(), monotonic=self.now))

    def text(self) -> dict[str, float]:
        """Return the samples of a scrape."""
        return samples(Renderer(version="1").text(self.read(), None, openmetrics=False).decode())

    def orders(self) -> dict[str, float]:
        """Return the orders that are shown, by customer."""
        shown = self.text()
        return {key[23:-2]: value for key, value in shown.items() if "orders_total{customer" in key}


@pytest.fixture(name="aged")
def _aged() -> Aged:
    aged = Aged(series_limit=10)
    for number in range(9):
        aged.add(ORDERS, number + 1, customer=str(number))
    return aged


def test_while_there_is_room_nothing_rests() -> None:
    """A series that was idle for a year is shown, as long as others need no room."""
    aged = Aged(series_limit=10)
    for number in range(8):
        aged.add(ORDERS, 1, customer=str(number))
    aged.wait(0)
    aged.wait(365 * 24 * HOUR)
    assert len(aged.orders()) == 8


def test_idle_series_make_room_for_others(aged: Aged) -> None:
    """Of a crowded instrument what was idle for an hour rests, and new attributes have a place."""
    aged.wait(0)
    aged.add(ORDERS, 1, customer="3")
    aged.wait(HOUR - 1)
    assert len(aged.orders()) == 9
    aged.wait(1)
    assert aged.orders() == {"3": 5}
    for number in range(9, 18):
        aged.add(ORDERS, 1, customer=str(number))
    assert len(aged.orders()) == 10
    assert aged.series(ORDERS, {"customer": "one more"}).attributes == OVERFLOW


def test_a_series_that_wakes_up_has_all_that_it_had(aged: Aged) -> None:
    """Its counter goes on where it stood, in this process and for one that reads the table anew."""
    aged.wait(0)
    aged.wait(HOUR)
    assert aged.orders() == {}
    aged.add(ORDERS, 100, customer="8")
    assert aged.orders() == {"8": 109}
    aged.wait(0)
    aged.wait(HOUR)
    assert aged.orders() == {"8": 109}, "an instrument with room is left alone"


def test_what_rests_is_in_every_total() -> None:
    """The count of all requests, and a sample of several series, are the same as before."""
    aged = Aged(series_limit=4)
    aged.request("/a")
    aged.request("/a", outcome="client_disconnected")
    aged.request("/b")
    aged.request("/c")
    before = aged.text()
    aged.wait(0)
    aged.request("/a")
    aged.wait(HOUR)
    after = aged.text()
    label = '{method="GET",endpoint="/a",status="200"}'
    assert before[f"app_requests_total{label}"] == 2
    assert after[f"app_requests_total{label}"] == 3
    assert f"app_requests_total{label.replace('/a', '/b')}" not in after
    reading = aged.read()
    assert reading.finished == 5
    assert len(reading.resting) == 3
    shown = [row for row in rows.of_ledger(reading) if row.instrument == DURATION]
    assert sum(row.count for row in shown) == 2, "exporters are given what is awake"


def _rooms(aged: Aged) -> dict[object, float]:
    """Return the gauges that are shown, by room."""
    shown = rows.of_ledger(aged.read())
    return {dict(row.attributes)["room"]: row.value for row in shown if row.instrument == HEAT}


def test_all_instruments_together_can_be_crowded() -> None:
    """Near the limit of all series, idle ones of small instruments rest too."""
    aged = Aged(series_limit=100, total_limit=10)
    others = [Instrument(f"other{number}", "counter", "", "", (), None) for number in range(5)]
    for number in range(5):
        aged.add(ORDERS, 1, customer=str(number))
        aged.add(others[number], 1)
    aged.wait(0)
    aged.add(ORDERS, 1, customer="4")
    aged.wait(HOUR)
    reading = aged.read()
    assert len(reading.resting) == 9
    assert {row.attributes for row in rows.of_ledger(reading)} == {(("customer", "4"),)}


def test_a_gauge_that_is_set_never_rests() -> None:
    """Set to the same value again and again, or to none for an hour: it is what is so now."""
    aged = Aged(series_limit=10)
    for room in ("a", "b"):
        aged.set(HEAT, 20.0, room=room)
    for number in range(8):
        aged.set(HEAT, 21.0, room=str(number))
    for _ in range(3):
        aged.set(HEAT, 20.0, room="a")
        aged.wait(HOUR)
    assert len(_rooms(aged)) == 10
    assert (_rooms(aged)["a"], _rooms(aged)["b"]) == (20.0, 20.0)

    # As where the processes that had set it are gone: nobody says anything of it any more.
    aged.set(HEAT, 0.0, room="b")
    aged.wait(0)
    aged.wait(HOUR)
    assert len(_rooms(aged)) == 9
    assert len(aged.read().resting) == 1
    aged.set(HEAT, 19.0, room="b")
    assert _rooms(aged)["b"] == 19.0


def _ages(recorder: Recorder) -> None:
    ageing = Ageing(HOUR)
    for seconds in (0, HOUR):
        reading = replace(recorder.read(), monotonic=seconds * 1_000_000_000)
        recorder.ledger.age(ageing, reading)


def _counts(recorder: Recorder, customer: str) -> Attributes:
    return recorder.count(1, (("customer", customer),))


def _resting(recorder: Recorder) -> set[object]:
    reading = recorder.read()
    return {reading.series[number].attributes[0][1] for number in reading.resting}


def test_what_one_keeper_put_to_rest_rests_for_all(tmp_path: Path) -> None:
    """Another process shows the same, wakes a series up, and its keeper's word counts from then."""
    instance = this_instance()
    make = partial(Recorder, tmp_path, instance, series_limit=3)
    with Child(make) as keeper, Child(make) as other:
        for customer in ("a", "b", "c"):
            assert other.call(_counts, customer) != OVERFLOW
        keeper.call(_ages)
        assert keeper.call(_resting) == other.call(_resting) == {"a", "b", "c"}
        assert other.call(_counts, "d") != OVERFLOW
        other.call(_counts, "a")
        assert keeper.call(_resting) == {"b", "c"}
        keeper.kill()
        assert other.call(_resting) == {"b", "c"}
        for customer in ("e", "f"):
            assert other.call(_counts, customer) != OVERFLOW
        other.call(_ages)
        assert other.call(_resting) == {"a", "b", "c", "d", "e", "f"}


class _Traffic(NamedTuple):
    """What a server was asked, and what its text says of it."""

    server: Gunicorn
    sent: Counter[int]
    highest: dict[str, float]

    def ask(self, *numbers: int) -> None:
        """Ask for these routes."""
        for number in numbers:
            self.server.get(f"/route/{number}")
        self.sent.update(numbers)

    def shown(self) -> dict[str, float]:
        """Return the counts that are shown; none has ever fallen."""
        found = samples(self.server.get("/metrics").text)
        counts = {k: v for k, v in found.items() if k.startswith("app_requests_total{")}
        for key, value in counts.items():
            assert value >= self.highest.get(key, 0)
            self.highest[key] = value
        return counts

    def all_are_shown(self, *numbers: int) -> bool:
        """Ask for them all once more: before the last one is shown, the first may rest."""
        self.ask(*numbers)
        return len(self.shown()) == len(numbers)

    def is_counted(self, number: int) -> bool:
        """Ask for a route once more; tell whether all that was asked of it is shown."""
        self.ask(number)
        # The last one is booked when its body is closed, after the client has it.
        assert until(lambda: counted(self.server) == self.sent.total()), (
            self.sent,
            self.server.log,
        )
        key = f'app_requests_total{{method="GET",endpoint="/route/{number}",status="200"}}'
        return self.shown().get(key) == self.sent[number]


def test_a_server_forgets_no_request_of_a_route_that_rests(tmp_path: Path) -> None:
    """Old routes leave the text, new ones have a place, and no counter falls meanwhile."""
    env = {
        "OTELMON_CARDINALITY_LIMIT": "12",
        "OTELMON_SERIES_IDLE_SECONDS": "1",
        "MONITORING_INTERVAL": "1",
    }
    with Gunicorn(tmp_path, app="tests.apps.routed:app", workers=2, env=env) as server:
        server.wait_for_workers()
        traffic = _Traffic(server, Counter(), {})
        assert until(lambda: traffic.all_are_shown(*range(11))), server.log
        assert until(lambda: not traffic.shown()), server.log
        assert until(lambda: traffic.all_are_shown(*range(11, 22))), server.log
        assert until(lambda: traffic.is_counted(3)), server.log
        said = server.get("/api/metrics").json()
        assert said["otelmon"]["series"]["resting"] > 0
        assert said["otelmon"]["series"]["overflowed"] == []


def counted(server: Gunicorn) -> int:
    """Return how many requests were booked."""
    number: int = server.get("/api/metrics").json()["application"]["request_count"]
    return number


class _Late(Keys):
    """A key table into which another process writes between two looks at it."""

    def __init__(self, keys: Keys) -> None:
        """Be *keys*, until the series are asked for."""
        self.__dict__ = keys.__dict__
        self.before = keys.known()

    def known(self) -> Known:
        """Return what there was before."""
        return self.before


def test_a_reader_that_is_overtaken_shows_what_it_knows() -> None:
    """Series that are placed and put to rest while it reads are none of that reading."""
    aged = Aged(series_limit=1)
    hold = aged.ledger.holding()
    late = _Late(hold.keys)
    aged.add(ORDERS, 1, customer="late")
    aged.wait(0)
    aged.wait(HOUR)
    assert aged.read().resting
    reading = reader.read(hold.segment, late, own=aged.pen.number)
    assert reading.resting == frozenset()
    assert len(reading.series) == len(late.before)
