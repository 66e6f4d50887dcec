"""The figures of the JSON endpoints: what each says, and when it is not known."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.board import Point
from otelmon.metrics import figures
from otelmon.metrics.figures import Totals, Window
from tests.sources import HOST, SECOND, Counts, published, worker


if TYPE_CHECKING:
    from otelmon.ledger.reader import Worker


NOTHING = Window(None, None, None)

INSTANTS = st.integers(0, 2**62)
COUNTS = st.integers(0, 2**62)
POINTS = st.lists(st.builds(Point, INSTANTS, COUNTS, COUNTS, COUNTS), max_size=5).map(
    lambda points: sorted(points, key=lambda point: point.monotonic)
)


class TestWindow:
    """Rates of the last 60 s."""

    def test_it_is_the_difference_of_two_points(self) -> None:
        """Rate, errors and mean are those of the requests between the two points."""
        points = [Point(0, 100, 7, SECOND), Point(60 * SECOND, 850, 22, 76 * SECOND)]

        assert figures.window(points) == Window(12.5, 2.0, 100.0)

    def test_it_begins_at_the_newest_point_that_is_a_window_older(self) -> None:
        """Of several points that are 60 s older the newest counts, and younger ones do not."""
        points = [
            Point(0, 0, 0, 0),
            Point(10 * SECOND, 1_000, 0, 0),
            Point(11 * SECOND, 5_000, 0, 0),
            Point(70 * SECOND, 1_600, 0, 0),
        ]

        assert figures.window(points).request_rate == 10.0

    def test_it_begins_at_the_oldest_point_while_all_are_young(self) -> None:
        """In the first minute the window is as long as there are points."""
        points = [Point(0, 0, 0, 0), Point(5 * SECOND, 10, 0, 0), Point(10 * SECOND, 50, 0, 0)]

        assert figures.window(points).request_rate == 5.0

    @pytest.mark.parametrize(
        "points",
        [
            pytest.param([], id="no point"),
            pytest.param([Point(0, 5, 0, 0)], id="one point"),
            pytest.param([Point(0, 0, 0, 0), Point(SECOND - 1, 9, 0, 0)], id="under a second"),
            pytest.param([Point(0, 9, 0, 0), Point(SECOND, 8, 0, 0)], id="a ledger begun anew"),
        ],
    )
    def test_it_is_unknown_where_two_points_do_not_tell(self, points: list[Point]) -> None:
        """Without two points a second apart that go on from each other nothing is known."""
        assert figures.window(points) == NOTHING

    def test_quiet_is_known_to_be_quiet(self) -> None:
        """Without requests the rate is 0, and there is neither an error rate nor a mean."""
        points = [Point(0, 5, 1, 9), Point(SECOND, 5, 1, 9)]

        assert figures.window(points) == Window(0.0, None, None)

    @given(POINTS)
    def test_it_is_possible_whatever_the_points_say(self, points: list[Point]) -> None:
        """No rate or mean is negative, and no more than all requests fail."""
        found = figures.window(points)

        assert found.request_rate is None or found.request_rate >= 0
        assert found.error_rate is None or 0 <= found.error_rate <= 100
        assert found.response_time is None or found.response_time >= 0

    def test_it_is_unknown_while_the_keeper_is_late(self) -> None:
        """What was the last minute when the keeper spoke is not called so for ever."""
        reading = Counts().read()
        late = published(monotonic=reading.monotonic - 36 * SECOND)

        assert figures.current(reading, published()) == Window(12.5, 0.5, 125.3)
        assert figures.current(reading, late) == NOTHING
        assert figures.current(None, published()) == NOTHING
        assert figures.current(reading, None) == NOTHING


class TestTotals:
    """What the keeper keeps of a reading."""

    def test_they_agree_with_what_was_recorded(self) -> None:
        """Requests, errors and durations are counted over all series."""
        counts = Counts()
        counts.request(took=3)
        counts.request("/a", status=404, took=5)
        counts.request("/a", status=503, error="503", took=7)
        counts.request("/b", status=500, error="ValueError", outcome="error", took=11)
        counts.request("/b", outcome="client_disconnected", took=13)

        assert figures.totals(counts.read()) == Totals(5, 2, 39)

    def test_their_requests_are_those_of_the_reading(self) -> None:
        """Requests past the cap of series are among them."""
        counts = Counts(series_limit=1)
        for number in range(5):
            counts.request(f"/{number}", took=2)
        reading = counts.read()

        assert figures.totals(reading) == Totals(reading.finished, 0, 10) == Totals(5, 0, 10)


class TestStatus:
    """Healthy only if that is known."""

    def test_it_is_healthy_when_all_is_well(self) -> None:
        """A keeper in time, a worker that beats and a complete ledger are healthy."""
        assert figures.status(Counts().read(), published(), ["view"]) == "healthy"

    def test_it_is_unknown_before_there_is_anything(self) -> None:
        """Before the process serves, or the keeper has spoken, nothing is called healthy."""
        assert figures.status(None, published()) == "unknown"
        assert figures.status(Counts().read(), None) == "unknown"

    @pytest.mark.parametrize(
        ("interval", "age", "status"),
        [
            (1.0, 8, "healthy"),
            (1.0, 8.1, "degraded"),
            (10.0, 35, "healthy"),
            (10.0, 36, "degraded"),
        ],
    )
    def test_it_is_degraded_when_the_keeper_is_late(
        self, interval: float, age: float, status: str
    ) -> None:
        """Three intervals and five seconds after its last word the keeper is missed."""
        reading = Counts().read()
        said = published(interval=interval, monotonic=reading.monotonic - round(age * SECOND))

        assert figures.status(reading, said) == status

    def test_it_is_degraded_while_a_worker_counts_for_itself(self) -> None:
        """An incomplete ledger is said, because the totals are too small."""
        assert figures.status(replace(Counts().read(), complete=False), published()) == "degraded"

    @pytest.mark.parametrize("workers", [(), (worker(beat_age=11.0), worker(1, beat_age=99.0))])
    def test_it_is_degraded_without_a_worker_that_beats(self, workers: tuple[Worker, ...]) -> None:
        """No worker, or none that gives a sign of life, is not healthy."""
        assert figures.status(replace(Counts().read(), workers=workers), published()) == "degraded"

    def test_one_worker_that_beats_is_enough(self) -> None:
        """A worker that is starved beside one that beats is no reason for an alarm."""
        workers = (worker(beat_age=99.0), worker(1))

        assert figures.status(replace(Counts().read(), workers=workers), published()) == "healthy"

    @pytest.mark.parametrize("fault", ["ledger", "ledger_series", "serve"])
    def test_it_is_degraded_by_faults_of_the_ledger(self, fault: str) -> None:
        """A process that could not join the ledger, or not with all series, says so."""
        assert figures.status(Counts().read(), published(), {fault: 1}) == "degraded"

    @pytest.mark.parametrize(
        ("fault", "status"),
        [("ledger", "healthy"), ("serve", "healthy"), ("ledger_series", "degraded")],
    )
    def test_a_process_that_found_back_is_healthy(self, fault: str, status: str) -> None:
        """What kept it from the shared ledger is over once it counts there; full stays full."""
        shared = replace(Counts().read(), shared=True)

        assert figures.status(shared, published(), {fault: 1}) == status


DISK_IO = ("disk_bytes_read", "disk_bytes_written")
SIDES = (
    "cpu_percent_host",
    "cpu_count_host",
    "memory_total_host",
    "memory_used_host",
    "memory_percent_host",
    "memory_available_host",
)


class TestSystem:
    """The host's figures."""

    def test_they_are_shown_as_sampled(self) -> None:
        """All fields are there, under the time of the sample."""
        assert figures.system(published()) == {
            "timestamp": "2026-01-12T08:00:00.250Z",
            **dict.fromkeys((*SIDES, *DISK_IO)),
            **HOST,
            "pressure": None,
            "source": {"cpu": "host", "memory": "host", "pressure": None},
        }

    def test_they_are_unknown_before_the_first_sample(self) -> None:
        """Before it, every field is there and null, and so is where it would be from."""
        found = figures.system(None)

        assert found.pop("source") == {"cpu": None, "memory": None, "pressure": None}
        assert found == dict.fromkeys(("timestamp", *HOST, *DISK_IO, *SIDES, "pressure"))
        assert figures.container(None) is None

    def test_what_could_not_be_sampled_is_unknown(self) -> None:
        """A field that the keeper left out is null, and one that it added is shown."""
        found = figures.system(published(host={"cpu_percent": 1.0, "cpu_heat": 50}))

        assert (found["cpu_percent"], found["cpu_heat"], found["load_avg"]) == (1.0, 50, None)


class TestApplication:
    """The requests' figures."""

    def test_they_are_of_the_reading_and_the_window(self) -> None:
        """Counts come from the ledger as it is now, rates from the board."""
        counts = Counts()
        counts.request()
        counts.begin()
        reading = replace(counts.read(), at=1_768_204_800.0)

        assert figures.application(reading, published()) == {
            "timestamp": "2026-01-12T08:00:00.000Z",
            "request_count": 1,
            "request_rate": 12.5,
            "avg_response_time": 125.3,
            "error_rate": 0.5,
            "active_connections": 1,
            "cache_hit_rate": None,
            "database_connections": None,
            "redis_connections": None,
        }

    def test_they_are_unknown_before_the_process_serves(self) -> None:
        """Without a reading every field is there and null."""
        assert set(figures.application(None, None).values()) == {None}


class TestWorkers:
    """How the processes do."""

    def test_they_are_summed(self) -> None:
        """Workers are counted by what they do, and the oldest request of all is shown."""
        live = (
            worker(0, in_flight=3, oldest_age=1.25),
            worker(1, in_flight=1, oldest_age=9.00049, draining=True),
            worker(2),
        )
        reading = replace(Counts().read(), workers=live, lost=5, worker_starts=9)

        found = figures.workers(reading, published())

        assert found.pop("deaths") == reading.worker_deaths
        assert [each["slot"] for each in found.pop("each")] == [0, 1, 2]
        assert found == {
            "total": 3,
            "busy": 2,
            "draining": 1,
            "capacity": 12,
            "oldest_request_seconds": 9.0,
            "lost_requests": 5,
            "starts": 9,
            "accept_backlog": 2,
        }

    def test_each_is_shown(self) -> None:
        """Of every process there is what it does, and for how long it has done so."""
        one = worker(3, claimed=100.0, started=7, in_flight=2, beat_age=0.12345, draining=True)
        reading = replace(Counts().read(), workers=(one,), at=160.5)

        assert figures.workers(reading, None)["each"] == [
            {
                "slot": 3,
                "pid": 4714,
                "uptime_seconds": 60.5,
                "requests": 7,
                "in_flight": 2,
                "beat_age_seconds": 0.123,
                "draining": True,
            }
        ]

    @pytest.mark.parametrize("live", [(), (worker(0), worker(1, capacity=None))])
    def test_capacity_is_unknown_if_one_is(self, live: tuple[Worker, ...]) -> None:
        """A sum of what is known would be too small, so it is null."""
        found = figures.workers(replace(Counts().read(), workers=live), None)

        assert (found["capacity"], found["oldest_request_seconds"]) == (None, None)

    def test_only_the_backlog_is_known_before_the_process_serves(self) -> None:
        """Without a reading every field is there, and what the board says is shown."""
        found = figures.workers(None, published())

        assert found.keys() == figures.workers(Counts().read(), None).keys()
        assert {name for name, value in found.items() if value is not None} == {"accept_backlog"}


class TestSaturation:
    """How near its limits the instance is."""

    def test_it_is_shares_of_what_there_is(self) -> None:
        """Busy workers of all, requests in flight of what can be served at once, and the waits."""
        live = (worker(0, in_flight=3), worker(1), worker(2), worker(3))
        reading = replace(Counts().read(), workers=live)

        assert figures.saturation(reading, published(), 7.5) == {
            "busy_share": 0.25,
            "in_flight_share": 0.188,
            "accept_backlog": 2,
            "queue_p95": 7.5,
        }

    def test_it_is_unknown_of_nothing(self) -> None:
        """Without workers, without a capacity or without a reading there is no share."""
        nobody = replace(Counts().read(), workers=())
        unsure = replace(Counts().read(), workers=(worker(0, capacity=None),))

        assert figures.saturation(nobody, None, None)["busy_share"] is None
        assert figures.saturation(unsure, None, None)["in_flight_share"] is None
        assert set(figures.saturation(None, None, None).values()) == {None}


def test_the_keeper_is_never_ahead() -> None:
    """A keeper that spoke after the reading was made is zero seconds old."""
    reading = Counts().read()

    assert figures.keeper_age(reading, published(monotonic=reading.monotonic + SECOND)) == 0.0
    assert figures.keeper_age(None, published()) is None
    assert figures.keeper_age(reading, None) is None
    assert figures.is_stale(reading, None)


def test_times_are_written_in_utc_with_a_z(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone of the machine changes nothing, and a whole second has its milliseconds too."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert figures.iso(1_768_204_800.0) == "2026-01-12T08:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()
