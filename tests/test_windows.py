"""The windows of 60, 300 and 900 s, against a model that forgets nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelmon import board
from otelmon.ledger import layout, ring
from otelmon.ledger.requests import QUEUE
from otelmon.ledger.segment import Segment
from otelmon.metrics import figures, past, windows
from otelmon.metrics.past import RINGS, Past
from otelmon.metrics.remembered import remember
from otelmon.metrics.snapshots import NOTHING, Snapshot, Tally, decode, encode, snapshot, together
from otelmon.metrics.summary import UNKNOWN
from otelmon.metrics.windows import MOST_ROUTES, OTHER
from tests.sources import SECOND, Counts, published


if TYPE_CHECKING:
    from otelmon.board import Published
    from otelmon.ledger.reader import Reading
    from otelmon.metrics.summary import Shown


_ROOM: Final = ring.room(layout.MINUTE)


def tally(requests: int, *, errors: int = 0, took: int = SECOND // 100) -> Tally:
    """Return so many requests of 10 ms or so, in their bucket."""
    return Tally(errors, requests * took, (0, requests, *(0,) * 13))


def taken(seconds: float, routes: dict[int, Tally]) -> Snapshot:
    """Return the snapshot of a moment."""
    return Snapshot(round(seconds * SECOND), together(list(routes.values())), NOTHING, routes)


class Model:
    """A keeper's memory in a ledger, beside one that keeps everything."""

    def __init__(self) -> None:
        """Remember nothing."""
        self.segment = Segment()
        self.all: list[Snapshot] = []

    def keep(self, snap: Snapshot, interval: float) -> None:
        """Remember a snapshot in both."""
        self.all.append(snap)
        past.keep_snapshot(self.segment, len(self.all), snap, interval)

    def spans(self) -> dict[int, past.Span | None]:
        """Return the windows."""
        return dict(Past(self.segment, len(self.all)).spans)


_STEPS: Final = st.lists(
    st.tuples(
        st.floats(0.5, 400.0),  # seconds since the one before
        st.sampled_from([1.0, 10.0, 60.0]),  # the interval of whoever is the keeper then
        st.dictionaries(st.integers(0, 3), st.integers(0, 50), max_size=4),  # requests by route
    ),
    min_size=1,
    max_size=60,
)


@given(_STEPS)
def test_a_window_is_what_was_counted_between_its_ends(
    steps: list[tuple[float, float, dict[int, int]]],
) -> None:
    """Whatever keepers follow each other, each window has the exact counts of its own length."""
    model, counted, now = Model(), dict.fromkeys(range(4), 0), 0.0
    for gap, interval, requests in steps:
        now += gap
        for route, more in requests.items():
            counted[route] += more
        model.keep(taken(now, {route: tally(n) for route, n in counted.items() if n}), interval)
    last = model.all[-1]
    assert Past(model.segment, len(model.all)).newest == last
    for seconds, span in model.spans().items():
        if span is None:
            assert all(last.monotonic - each.monotonic < SECOND for each in model.all)
            continue
        assert span.after == last
        assert span.before in model.all
        found = windows.overall(span)
        assert found.count == last.total.requests - span.before.total.requests
        assert found.rate == found.count / span.seconds
        # It is shorter only if nothing older is left; of all that was kept the newest such counts.
        if span.seconds < seconds:
            oldest = min(each.monotonic for each in ring.read(model.segment, RINGS[seconds]))
            assert span.before.monotonic == oldest


@pytest.mark.parametrize("interval", [1.0, 2.5, 10.0, 45.0, 60.0])
def test_a_window_is_long_enough_and_little_more(interval: float) -> None:
    """Once there is enough, it is longer by a twelfth and an interval at the most, 60 s by one."""
    model = Model()
    for number in range(round(1300 / interval)):
        model.keep(taken(100 + number * interval, {0: tally(number)}), interval)
        age = number * interval
        for seconds, span in model.spans().items() if age > 1000 else ():
            assert span is not None
            more = interval if seconds == 60 else max(interval, seconds / 12) + interval
            assert seconds <= span.seconds <= seconds + more


@pytest.mark.parametrize("spoilt", [0, 1, 2, 5])
def test_a_spoilt_snapshot_is_passed_over(spoilt: int) -> None:
    """If one is damaged the window begins with the next older one, and its counts are of that."""
    model = Model()
    for number in range(12):
        model.keep(taken(100 + number * 10, {0: tally(number * number)}), 10.0)
    for place in range(spoilt):
        at = layout.MINUTE.at - layout.PAST_AT + (5 - place) * layout.MINUTE.place_bytes
        model.segment.past[at + 30] ^= 0xFF
    span = model.spans()[60]

    assert span is not None
    assert span.seconds == 60 + spoilt * 10
    assert windows.overall(span).count == 121 - (5 - spoilt) ** 2


def test_a_ledger_that_begins_anew_is_unknown() -> None:
    """Where counts fall nothing is known: no rate, no percentile, no route."""
    model = Model()
    model.keep(taken(0, {0: tally(100)}), 10.0)
    model.keep(taken(60, {0: tally(99)}), 10.0)
    spans = model.spans()

    assert {windows.overall(span) for span in spans.values()} == {UNKNOWN}
    assert windows.routes(spans, Counts().read().series) == []


def test_two_ends_less_than_a_second_apart_are_no_window() -> None:
    """With one snapshot, or two at nearly the same time, there is no window."""
    model = Model()
    assert set(model.spans().values()) == {None}
    model.keep(taken(10, {}), 10.0)
    assert set(model.spans().values()) == {None}
    model.keep(taken(10.9, {}), 10.0)
    assert set(model.spans().values()) == {None}


def test_quiet_is_known_to_be_quiet() -> None:
    """Without requests the rate and the errors are 0, all other figures null."""
    model = Model()
    model.keep(taken(0, {0: tally(5)}), 10.0)
    model.keep(taken(60, {0: tally(5)}), 10.0)
    found = windows.overall(model.spans()[60])

    assert (found.seconds, found.count, found.rate, found.errors) == (60, 0, 0, 0)
    assert (found.error_rate, found.mean, found.p50, found.p95, found.p99) == (None,) * 5


# -- snapshots ------------------------------------------------------------------------------------

_COUNTS: Final = st.integers(0, 2**62)
_TALLIES: Final = st.builds(
    Tally, _COUNTS, _COUNTS, st.lists(_COUNTS, min_size=15, max_size=15).map(tuple)
)


@given(_TALLIES, _TALLIES, st.dictionaries(st.integers(0, 2**30), _TALLIES, max_size=5))
def test_a_snapshot_is_decoded_as_it_was(
    total: Tally, queue: Tally, routes: dict[int, Tally]
) -> None:
    """All counts come back exactly, whatever they are."""
    snap = Snapshot(7, total, queue, routes)

    assert decode(7, encode(snap, _ROOM)) == snap


@given(st.binary(max_size=300))
def test_foreign_bytes_are_no_snapshot(data: bytes) -> None:
    """What is no snapshot is None, and raises nothing."""
    assert decode(1, data) is None


def test_what_does_not_fit_is_among_the_others() -> None:
    """Of too many routes those with most time are kept, and the totals are whole."""
    counts = {number: tally(number * 7919 % 10_007, took=number + 1) for number in range(5000)}
    found = decode(1, encode(taken(0, counts), 4096))

    assert found is not None
    assert not found.whole
    assert found.total == together(list(counts.values()))
    assert 100 < len(found.routes) < 5000
    least = min(each.duration for each in found.routes.values())
    assert all(each.duration <= least for n, each in counts.items() if n not in found.routes)


# -- routes ---------------------------------------------------------------------------------------


class Instance:
    """A ledger with requests, whose keeper publishes when it is told."""

    def __init__(self, **limits: int) -> None:
        """Begin at some moment."""
        self.counts = Counts(**limits)
        assert self.counts.ledger.segment is not None
        self.segment = self.counts.ledger.segment
        self.at = 5000 * SECOND

    def publish(self, after: float) -> tuple[Reading, Published]:
        """Publish after so many seconds."""
        self.at += round(after * SECOND)
        reading = replace(self.counts.read(), monotonic=self.at)
        old = board.read(self.segment)
        point = board.Point(self.at, *figures.totals(reading))
        said = published(
            monotonic=self.at, at=reading.at, points=(*(old.points if old else ()), point)
        )
        remember(self.segment, reading, said)
        board.publish(self.segment, said)
        return reading, said

    def shown(self, after: float) -> Shown:
        """Publish, and return what is shown then."""
        reading, said = self.publish(after)
        return windows.shown(Past(self.segment, board.newest(self.segment)), reading, said)


def test_routes_are_told_apart() -> None:
    """Each route has its own counts, errors, percentiles and share of all time."""
    instance = Instance()
    instance.counts.request("/old", took=SECOND)
    instance.publish(0)
    for _ in range(99):
        instance.counts.request("/fast", took=SECOND // 100)
    instance.counts.request("/fast", status=500, error="500", took=SECOND // 100)
    for _ in range(3):
        instance.counts.request("/slow", method="POST", took=3 * SECOND)
    found = instance.shown(60)
    slow, fast = found.routes or [{}, {}]

    assert (slow["method"], slow["route"]) == ("POST", "/slow")
    assert (fast["method"], fast["route"]) == ("GET", "/fast")
    assert slow["windows"]["60"] == slow["windows"]["900"]
    assert fast["windows"]["60"] == {
        "seconds": 60.0,
        "count": 100,
        "rate": 1.667,
        "errors": 1,
        "error_rate": 1.0,
        "mean": 10.0,
        "p50": 7.5,
        "p95": 9.75,
        "p99": 9.95,
        "at_least": (),
        "time_share": 0.1,
    }
    assert slow["windows"]["900"]["time_share"] == 0.9


def test_above_the_last_bound_a_percentile_says_so() -> None:
    """A p99 of half a minute is shown as 10 s at least."""
    instance = Instance()
    instance.publish(0)
    for took in [SECOND] * 97 + [30 * SECOND] * 3:
        instance.counts.request(took=took)
    found = instance.shown(60).windows["60"]

    assert (found["p99"], found["at_least"]) == (10_000.0, ("p99",))


def test_a_minute_agrees_with_the_figures_of_the_application() -> None:
    """Rate, mean and error rate of the window of 60 s are those under `application`."""
    instance = Instance()
    for number in range(20):
        instance.counts.request(took=number * SECOND // 50)
        instance.counts.request(status=500, error="500", took=number)
        found = instance.shown(10 + number % 3).windows["60"]
        reading, said = replace(instance.counts.read(), monotonic=instance.at), published()
        said = board.read(instance.segment) or said
        application = figures.application(reading, said)

        assert found["rate"] == application["request_rate"]
        assert found["mean"] == application["avg_response_time"]
        assert found["error_rate"] == application["error_rate"]


@settings(max_examples=30)
@given(
    st.lists(
        st.dictionaries(st.integers(0, 70), st.integers(1, 5), max_size=71), min_size=2, max_size=4
    )
)
def test_all_rows_together_are_all_requests(rounds: list[dict[int, int]]) -> None:
    """With 50 routes at the most and one row for the others, no request is missing or double."""
    instance = Instance(series_limit=60)
    instance.publish(0)
    for requests in rounds:
        for route, times in requests.items():
            for _ in range(times):
                instance.counts.request(f"/{route}", took=SECOND // 1000 * (route + 1))
        found = instance.shown(61)
        for seconds in ("60", "900"):
            rows = [row["windows"][seconds] for row in found.routes or ()]
            assert sum(row["count"] for row in rows) == found.windows[seconds]["count"]
        assert [row["route"] for row in found.routes or ()].count(OTHER) <= 1
        assert len(found.routes or ()) <= MOST_ROUTES + 1


def test_a_route_that_an_older_snapshot_left_out_is_among_the_others() -> None:
    """Where a window's begin does not tell of a route, it gets no row, and no false one."""
    counts = Counts()
    counts.request("/a")
    counts.request("/b")
    reading = counts.read()
    old, new = snapshot(reading).routes
    first = replace(taken(0, {old: tally(9)}), whole=False)
    span = past.Span(first, taken(900, {old: tally(10), new: tally(5)}))
    found = windows.routes({60: span, 900: span}, reading.series)

    assert [row["route"] for row in found] == ["/a", OTHER]
    assert found[-1]["windows"]["60"]["count"] == 5


def test_waiting_is_measured_by_its_own_buckets() -> None:
    """The queue's p95 is of the last minute, and null if no proxy told any."""
    instance = Instance()
    instance.publish(0)
    assert instance.shown(60).queue_p95 is None
    for _ in range(100):
        instance.counts.record(QUEUE, SECOND // 5, {})

    assert instance.shown(60).queue_p95 == 242.5


@pytest.mark.parametrize("missing", ["past", "reading", "published", "keeper"])
def test_nothing_is_shown_of_what_is_not_known(missing: str) -> None:
    """Before the keeper, or once it is late, every figure is there and null."""
    instance = Instance()
    instance.publish(0)
    reading, said = instance.publish(60)
    kept = Past(instance.segment, board.newest(instance.segment))
    if missing == "keeper":
        reading = replace(reading, monotonic=reading.monotonic + 36 * SECOND)
    found = windows.shown(
        None if missing == "past" else kept,
        None if missing == "reading" else reading,
        None if missing == "published" else said,
    )

    assert found.routes is None
    assert {name: window["count"] for name, window in found.windows.items()} == {
        "60": None,
        "300": None,
        "900": None,
    }


def test_it_is_worked_out_once_for_each_publication() -> None:
    """Asked again, the same is shown without work."""
    instance = Instance()
    instance.publish(0)
    reading, said = instance.publish(60)
    kept = Past(instance.segment, board.newest(instance.segment))

    assert windows.shown(kept, reading, said) is windows.shown(kept, reading, said)


def test_what_was_written_ahead_of_the_board_is_not_seen() -> None:
    """A keeper killed between snapshot and publication leaves the windows as they were."""
    instance = Instance()
    instance.publish(0)
    instance.publish(60)
    before = instance.segment.header[layout.HEADER_BOARD]
    instance.counts.request()
    ahead = replace(instance.counts.read(), monotonic=instance.at + SECOND)
    remember(instance.segment, ahead, published(monotonic=ahead.monotonic))
    kept = Past(instance.segment, before)

    assert kept.newest is not None
    assert kept.newest.total.requests == 0
    assert len(kept.points) == 2


def test_a_snapshot_agrees_with_the_ledger() -> None:
    """Requests, errors and time are those of the reading, past the cap of series too."""
    counts = Counts(series_limit=4)
    for number in range(9):
        counts.request(f"/{number}", took=number)
        counts.request(f"/{number}", status=500, error="500", took=3)
    reading = counts.read()
    found = snapshot(reading)

    assert (found.total.requests, found.total.errors, found.total.duration) == figures.totals(
        reading
    )
    assert found.total.requests == 18
    assert sum(each.requests for each in found.routes.values()) == 4
