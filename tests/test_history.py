"""The history: an hour of points, with gaps where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon import board
from otelmon.instruments.databases.levels import COUNT, STATE
from otelmon.ledger import layout
from otelmon.ledger.segment import Segment
from otelmon.metrics import figures, history, past
from otelmon.metrics.history import MOST, SERIES, Now, Point, columns, decode, encode, point, recent
from otelmon.metrics.past import Past
from otelmon.metrics.remembered import remember
from otelmon.metrics.summary import UNKNOWN
from tests.sources import HOST, SECOND, Counts, published, worker


if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


_VALUES: Final = st.lists(
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    min_size=len(SERIES),
    max_size=len(SERIES),
).map(tuple)
_FIRST: Final = next(iter(SERIES))
NOON: Final = 1_768_219_200.0


def moment(seconds: float, *, at: float | None = None, interval: float = 10.0) -> Point:
    """Return a point of this moment, whose values are the seconds; the wall clock is NOON's."""
    wall = NOON + seconds if at is None else at
    values = (float(seconds),) * len(SERIES)
    return Point(round((seconds + 1000) * SECOND), round(wall, 3), interval, values)


def table(points: Iterable[Point], **asked: Any) -> list[tuple[float, float | None]]:  # noqa: ANN401
    """Return times since noon with the value of one series."""
    found = columns(list(points), **{"interval": 10.0, **asked})
    return [
        (round(at - NOON, 3), value)
        for at, value in zip(found["times"], found["series"][_FIRST], strict=True)
    ]


class TestPoints:
    """What is kept of a moment."""

    @given(st.integers(0, 2**63), st.floats(0, 4e9), st.floats(1, 60), _VALUES)
    def test_they_are_decoded_as_they_were(
        self, monotonic: int, at: float, interval: float, values: tuple[float | None, ...]
    ) -> None:
        """Every value comes back, null as null."""
        kept = Point(monotonic, at, interval, values)

        assert decode(monotonic, encode(kept)) == kept

    @given(st.binary(max_size=400))
    def test_foreign_bytes_are_no_point_or_one_of_numbers(self, data: bytes) -> None:
        """What is no point is None; what could be one has as many values as there are series."""
        found = decode(1, data)

        assert found is None or len(found.values) == len(SERIES)

    def test_a_point_of_another_version_fits(self) -> None:
        """What a newer keeper knows beyond is left out, what an older one did not is null."""
        whole = moment(1)
        more, less = (*whole.values, 7.0), whole.values[:3]

        assert decode(whole.monotonic, encode(replace(whole, values=more))) == whole
        found = decode(whole.monotonic, encode(replace(whole, values=less)))
        assert found is not None
        assert found.values == (*less, *(None,) * (len(SERIES) - 3))

    def test_it_has_what_the_instance_and_its_host_do(self) -> None:
        """Host, requests and processes are in it under their names, null where not known."""
        counts = Counts()
        counts.request()
        counts.begin()
        used = counts.series(COUNT, {STATE: "used"})
        counts.pen.values[used.base], counts.pen.values[used.base + 1] = 3.0, 1.0  # and in use
        live = (worker(0, in_flight=1, oldest_age=2.5), worker(1))
        reading = replace(counts.read(), workers=live, lost=3)
        minute = replace(UNKNOWN, rate=12.5, p95=40.0)
        now = Now(reading, HOST, minute, None, figures.workers(reading, published(backlog=4)))
        kept = point(now, NOON + 0.12345, 10.0)
        found = dict(zip(SERIES, kept.values, strict=True))

        assert kept.at == NOON + 0.123
        assert {name: found[name] for name in HOST.keys() & found.keys()} == {
            name: HOST[name] for name in HOST.keys() & found.keys()
        }
        expected = {
            "request_count": 1,
            "request_rate": 12.5,
            "error_rate": None,
            "p95": 40.0,
            "p99": None,
            "queue_p95": None,
            "active_connections": 1,
            "workers_busy": 1,
            "workers_total": 2,
            "oldest_request_seconds": 2.5,
            "accept_backlog": 4,
            "lost_requests": 3,
            "database_connections": 3,
            "series": len(reading.series),
        }
        assert {name: found[name] for name in expected} == expected


class TestRing:
    """What is remembered of the points."""

    @pytest.mark.parametrize(("interval", "kept"), [(1.0, 3600), (10.0, 360), (60.0, 60)])
    def test_it_is_an_hour(self, interval: float, kept: int) -> None:
        """After 70 minutes the points of the last 60 are there, each once, the newest last."""
        segment = Segment()
        many = round(4200 / interval)
        for number in range(1, many + 1):
            past.keep_point(segment, number, moment(number * interval, interval=interval))
        found = Past(segment, many).points

        assert [each.values[0] for each in found] == [
            number * interval for number in range(many - kept + 1, many + 1)
        ]

    def test_a_keeper_that_is_killed_leaves_nothing_twice(self) -> None:
        """Whichever part of a point was written ahead of the board, it is there once or not."""
        segment = Segment()
        for number in range(1, 21):
            past.keep_point(segment, number, moment(number * 60, interval=60.0))
        before = bytes(segment.past[: 80 * layout.HISTORY.place_bytes])
        past.keep_point(segment, 21, moment(21 * 60, interval=60.0))
        ahead = bytes(segment.past[: 80 * layout.HISTORY.place_bytes])
        for end in range(20 * layout.HISTORY.place_bytes, 21 * layout.HISTORY.place_bytes, 7):
            segment.past[: len(before)] = ahead[:end] + before[end:]
            assert len(Past(segment, 20).points) == 20
            # The next keeper's point comes a little later, and takes the place of that.
            past.keep_point(segment, 21, moment(21 * 60 + 2, interval=60.0))
            seen = [each.values[0] for each in Past(segment, 21).points]
            assert seen == [*(number * 60 for number in range(1, 21)), 21 * 60 + 2]

    def test_what_a_suspended_hour_left_is_forgotten(self) -> None:
        """Points that are more than an hour older than the newest are not shown."""
        assert recent([moment(3700), moment(0), moment(101), moment(99)]) == [
            moment(101),
            moment(3700),
        ]
        assert recent([]) == []

    def test_a_publication_is_remembered_with_its_point(self) -> None:
        """What `remember` keeps is the board's own moment, with the figures of the window."""
        counts = Counts()
        segment = counts.ledger.segment
        assert segment is not None
        for number in range(3):
            counts.request(took=SECOND // 10)
            reading = replace(counts.read(), monotonic=(100 + 30 * number) * SECOND)
            said = published(monotonic=reading.monotonic, at=NOON + 30 * number)
            remember(segment, reading, said)
            board.publish(segment, said)
        found = columns(Past(segment, 3).points, interval=10.0)

        assert [at for at in found["times"] if at in (NOON, NOON + 30, NOON + 60)] == [
            NOON,
            NOON + 30,
            NOON + 60,
        ]
        series = found["series"]
        assert series["request_count"][-1] == 3
        assert series["request_rate"][-1] == round(2 / 60, 3)
        assert series["avg_response_time"][-1] == 100
        assert series["cpu_percent"][-1] == HOST["cpu_percent"]


class TestColumns:
    """What is shown of them."""

    def test_regular_points_are_shown_as_they_are(self) -> None:
        """Times, values and interval are those of the points; whole numbers have no fraction."""
        found = columns([moment(10), moment(20.25), moment(30)], interval=99.0)

        assert found["interval"] == 10.0
        assert found["times"] == [NOON + 10, NOON + 20.25, NOON + 30]
        assert found["series"].keys() == SERIES.keys()
        assert set(map(tuple, found["series"].values())) == {(10, 20.25, 30)}
        assert isinstance(found["series"][_FIRST][0], int)

    def test_without_points_there_are_none(self) -> None:
        """All series are there and empty, with the interval that is to come."""
        found = columns([], interval=7.0)

        assert (found["interval"], found["times"]) == (7.0, [])
        assert set(map(tuple, found["series"].values())) == {()}

    @pytest.mark.parametrize(
        ("late", "missing"),
        [(10.9, []), (14, []), (19.5, [20]), (21, [20]), (41, [20, 30, 40])],
    )
    def test_where_a_beat_was_missed_there_is_null(self, late: float, missing: list[float]) -> None:
        """A row of nulls stands for each point that should be and is none."""
        assert table([moment(10), moment(10 + late)]) == [
            (10, 10),
            *((at, None) for at in missing),
            (10 + late, 10 + late),
        ]

    @pytest.mark.parametrize("jump", [-7200, -6, 6, 7200])
    def test_a_clock_that_was_set_leaves_a_gap(self, jump: float) -> None:
        """Points stay in their order with the times they had, and no line is drawn between."""
        points = [moment(10), moment(20), moment(30, at=NOON + 30 + jump), moment(40, at=NOON + 40)]

        assert table(points[:3]) == [(10, 10), (20, 20), (30, None), (30 + jump, 30)]
        assert table(points)[-2:] == [(40 + jump, None), (40, 40)]

    def test_a_machine_that_slept_leaves_a_gap(self) -> None:
        """The monotonic clock stands still meanwhile: two neighbours are two hours apart."""
        points = [moment(10), moment(20), moment(30, at=NOON + 7230)]

        assert table(points) == [(10, 10), (20, 20), (30, None), (7230, 30)]

    def test_a_clock_that_is_slewed_leaves_none(self) -> None:
        """A second more or less within ten is no gap."""
        assert len(table([moment(10), moment(20, at=NOON + 20.9), moment(30)])) == 3

    def test_a_young_keepers_points_are_shown(self) -> None:
        """What is nearer together than an interval is there too."""
        assert [at for at, _ in table(map(moment, (1, 2, 4, 8, 16, 26)))] == [1, 2, 4, 8, 16, 26]

    @pytest.mark.parametrize(("interval", "step"), [(1.0, 10.0), (7.0, 14.0), (10.0, 10.0)])
    def test_an_hour_is_360_rows_at_the_most(self, interval: float, step: float) -> None:
        """Of more points every second or third or so is shown, and how far they are apart."""
        points = [
            moment(number * interval, interval=interval) for number in range(int(3600 / interval))
        ]
        found = columns(points, interval=interval)
        values = found["series"][_FIRST]

        assert found["interval"] == step
        assert 250 < len(values) <= MOST
        assert None not in values
        assert values[-1] == points[-1].values[0]
        # The same ones a moment later, but for the newest stretch.
        later = columns(points[:-3], interval=interval)["series"][_FIRST]
        assert set(later[1:-1]) <= set(values)

    def test_of_a_short_time_all_points_are_shown(self) -> None:
        """The last minutes of an hour at one a second are there second by second."""
        points = [moment(number, interval=1.0) for number in range(3600)]

        assert table(points, since=NOON + 3299) == [(at, at) for at in range(3300, 3600)]

    def test_since_is_exclusive(self) -> None:
        """Who asks since the last time he has gets nothing twice."""
        points = [moment(number * 10 + 0.1234) for number in range(5)]
        last = columns(points, interval=10.0)["times"][2]

        assert [at for at, _ in table(points, since=last)] == [30.123, 40.123]

    def test_only_the_series_that_are_asked_for_are_there(self) -> None:
        """In the order in which they were named."""
        found = columns([moment(10)], interval=10.0, names=["p99", "load_avg"])

        assert list(found["series"]) == ["p99", "load_avg"]

    @given(
        st.lists(
            st.tuples(st.floats(0.01, 4000), st.floats(-1e5, 1e5), st.sampled_from([1.0, 10, 60])),
            max_size=80,
        )
    )
    def test_it_is_in_order_and_makes_nothing_up(
        self, steps: list[tuple[float, float, float]]
    ) -> None:
        """Whatever clocks and keepers do: columns of one length, at most 360 rows, real values."""
        now, points = 0.0, []
        for gap, shift, interval in steps:
            now += gap
            points.append(moment(now, at=NOON + now + shift, interval=interval))
        kept = recent(points)
        found = columns(kept, interval=10.0)

        assert {len(each) for each in found["series"].values()} == {len(found["times"])}
        assert len(found["times"]) <= MOST
        values = [each for each in found["series"][_FIRST] if each is not None]
        assert values == sorted(set(values))
        assert set(values) <= {round(each.values[0] or 0, 3) for each in kept}
        if kept:
            assert found["times"][-1] == kept[-1].at


def test_the_names_are_about_thirty() -> None:
    """None is there twice, and a point has room for more to come."""
    assert 25 <= len(SERIES) <= 40
    assert 8 * (len(SERIES) + 2) + 24 <= layout.HISTORY.place_bytes
    assert layout.HISTORY.places == history.SECONDS + 16
