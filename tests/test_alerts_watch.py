"""What the keeper makes of all rules, moment by moment, and what readers make of a late keeper."""

from __future__ import annotations

import asyncio
import json
import threading
from array import array
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from otelmon import board, faults
from otelmon.alerts import transitions, trends, watch
from otelmon.alerts.moment import Measured
from otelmon.alerts.watch import Watch
from otelmon.ledger import layout, ring
from otelmon.ledger.instrument import Instrument
from otelmon.ledger.ring import Record
from otelmon.ledger.segment import Segment
from otelmon.metrics import standing
from otelmon.metrics.history import SERIES, Point
from otelmon.metrics.remembered import Remembered
from otelmon.settings import Settings
from tests.alarms import SECOND, moment, rule
from tests.endpoints import get, ops
from tests.sources import Counts, published, worker
from tests.test_alerts_rules import span
from tests.waiting import until


if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelmon.alerts.moment import Moment
    from otelmon.alerts.rules import Rule
    from otelmon.board import AlertState, Published


class Instance:
    """A watch, what it has published so far, and a clock."""

    def __init__(self, *rules: Rule, **given: Any) -> None:  # noqa: ANN401 - fields of Settings
        """Begin; *rules* are beside those of the settings."""
        self.rules = list(rules)
        self.watch = Watch(Settings(**given), rules=lambda: self.rules, told=())
        self.board = published(alerts=())
        self.monotonic = 1000 * SECOND
        self.news: list[tuple[str, str, str, str]] = []
        self.reading = Counts().read()

    def see(self, seconds: float = 10.0, *, gap: float = 10.0, **changes: Any) -> None:  # noqa: ANN401 - fields of Moment
        """Judge for so long, every 10 s."""
        for _ in range(round(seconds / 10)):
            self.monotonic += round(gap * SECOND)
            now = moment(
                self.reading,
                **{
                    "monotonic": self.monotonic,
                    "at": self.monotonic / SECOND,
                    "gap": gap,
                    "host": {},
                    **changes,
                },
            )
            found = self.watch.judge(now, self.board)
            self.news += [
                (each.alert, each.before, each.after, each.reason) for each in found.transitions
            ]
            self.board = replace(
                self.board,
                alerts=found.states,
                transitions=self.board.transitions + len(found.transitions),
            )

    def state(self, name: str) -> AlertState:
        """Return one alert."""
        (found,) = (each for each in self.board.alerts if each.id == name)
        return found


def requests(minute: tuple[int, int], five: tuple[int, int]) -> dict[str, Any]:
    """Return the windows of a moment: requests and errors of 60, 300 and 900 s."""
    counts = {60: minute, 300: five, 900: five}
    return {"spans": {seconds: span(*found, seconds) for seconds, found in counts.items()}}


def test_traffic_that_stops_is_no_recovery() -> None:
    """An error rate fires, is held for 300 s without a request, and ends for want of data."""
    instance = Instance()
    instance.see(60, **requests((20, 3), (100, 4)))
    assert instance.state("error_rate").state == "firing"
    # What is left in the longer windows is what was judged then.
    instance.see(290, **requests((0, 0), (100, 4)))
    assert instance.state("error_rate").level == "critical"
    instance.see(10, **requests((0, 0), (0, 0)))
    assert instance.state("error_rate").state == "no_data"
    assert instance.news == [
        ("error_rate", "ok", "critical", "raised"),
        ("error_rate", "critical", "ok", "no_data"),
    ]


def test_one_error_is_no_alert_and_five_of_five_are() -> None:
    """A quiet service: one failed request of one says nothing, five of five do."""
    instance = Instance()
    instance.see(600, **requests((1, 1), (1, 1)))
    assert instance.news == []
    instance.see(60, **requests((2, 2), (5, 5)))
    assert instance.news == [("error_rate", "ok", "critical", "raised")]


def test_a_time_without_a_keeper_is_an_alert_and_no_evidence() -> None:
    """After a gap its own alert is told of, and what was pending before it begins anew."""
    high: dict[str, Any] = {"host": {"memory_percent": 90.0}}
    instance = Instance()
    instance.see(30, **high)
    assert instance.state("memory").state == "pending"
    instance.see(10, gap=60.0, **high)
    assert instance.state("memory").state == "pending"
    assert instance.news == [("collector", "ok", "warning", "raised")]
    instance.see(10, **high)
    assert instance.news[1:] == [("collector", "warning", "ok", "cleared")]
    instance.see(30, **high)
    assert instance.news[2:] == [("memory", "ok", "warning", "raised")]


ORDERS = Instrument("shop.orders", "gauge", "", "")


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, KeyError])
def test_a_rule_may_end_as_it_likes(error: type[BaseException]) -> None:
    """Also with what would end a thread: that rule has no data, and the others are judged."""

    def ends(_: Moment) -> float:
        raise error

    instance = Instance(rule(id="ends", value=ends), rule(id="mine", value=lambda _: 90.0))
    instance.see(40)

    assert instance.state("mine").state == "firing"
    assert (instance.state("ends").state, instance.state("ends").errors) == ("no_data", 4)
    assert faults.seen()["alert_rule"].each["ends"].times == 4


def test_a_metric_that_nobody_records_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not at once, since the first record may come late; with the names that are near it."""
    counts = Counts()
    counts.set(ORDERS, 3.0)
    instance = Instance(
        rule(id="typo", metric="shop.ordres", warning=1),
        rule(id="odd", metric="nowhere", warning=1),
        rule(id="right", metric="shop.orders", where={"kind": "book"}, warning=1),
        rule(id="own", value=lambda _: None, warning=1),
    )
    instance.reading = counts.read()
    instance.see(600)
    counts.request()
    instance.reading = counts.read()
    instance.see(90)
    assert not caplog.records
    instance.see(100)

    said = {name: instance.state(name).error for name in ("typo", "odd", "right", "own")}
    near = "no series shop.ordres; near: shop.orders"
    assert said == {"typo": near, "odd": "no series nowhere", "right": None, "own": None}
    assert len(caplog.records) == 2
    assert f"The rule typo has no data: there is {near}." in caplog.text


def test_a_metric_that_comes_late_is_well() -> None:
    """What was said of it is kept by the next keeper, and gone with the first record."""
    counts = Counts()
    counts.request()
    instance = Instance(rule(id="late", metric="shop.orders", warning=1))
    instance.reading = counts.read()
    instance.see(100)
    instance.watch.forget()
    instance.see(10)
    before = instance.state("late")
    counts.set(ORDERS, 3.0)
    instance.reading = counts.read()
    instance.see(10)

    assert (before.error, before.errors) == ("no series shop.orders", 0)
    assert (instance.state("late").error, instance.state("late").value) == (None, 3.0)


def test_a_rule_that_is_gone_leaves_no_alert_behind() -> None:
    """A firing alert without its rule is resolved once and is no longer there."""
    mine = rule(id="mine", value=lambda _: 90.0)
    instance = Instance(mine)
    instance.see(60)
    instance.rules.clear()
    instance.see(60)

    assert [each for each in instance.news if each[0] == "mine"] == [
        ("mine", "ok", "warning", "raised"),
        ("mine", "warning", "ok", "rule_off"),
    ]
    assert "mine" not in {each.id for each in instance.board.alerts}


def test_a_rule_of_ones_own_may_return_what_it_likes() -> None:
    """A number, a Measured, None; what is no number is a failure of that rule alone."""
    returned: list[Any] = [90.0, Measured(90.0, 5), None, "much", float("nan")]
    instance = Instance(*[rule(id=f"r{n}", value=lambda _, v=v: v) for n, v in enumerate(returned)])
    instance.see(40)

    assert [instance.state(f"r{n}").state for n in range(5)] == [
        *("firing", "firing", "no_data", "no_data", "no_data")
    ]
    assert [instance.state(f"r{n}").errors for n in range(5)] == [0, 0, 0, 4, 0]
    assert instance.state("r3").error is not None
    assert faults.seen()["alert_rule"].each["r3"].times == 4


def test_a_rule_that_hangs_is_left_behind() -> None:
    """It is waited for once, never started twice, and judged by a new value when it is back."""
    begun, let_go = threading.Semaphore(0), threading.Event()

    def hang(_: object) -> float:
        begun.release()
        value = 90.0 if let_go.is_set() else 99.0
        let_go.wait(60)
        return value

    instance = Instance(rule(id="hung", value=hang), rule(id="after", value=lambda _: 90.0))
    instance.see(40)
    try:
        assert instance.state("hung").error == "TimeoutError"
        assert begun.acquire(blocking=False)
        assert not begun.acquire(blocking=False)
    finally:
        let_go.set()

    def is_judged() -> bool:
        instance.see(10)
        return instance.state("hung").error is None

    assert until(is_judged, 30)
    assert instance.state("hung").value == 90.0
    assert instance.state("after").state == "firing"


def test_a_rule_that_is_slow_each_time_leaves_the_others_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it was late it is asked last."""
    go = threading.Semaphore(0)
    asked: list[str] = []

    def slow(_: object) -> float:
        asked.append("slow")
        go.acquire(timeout=60)
        return 90.0

    def quick(_: object) -> float:
        asked.append("quick")
        return 90.0

    instance = Instance(rule(id="slow", value=slow), rule(id="quick", value=quick))
    monkeypatch.setattr(watch, "_RULES_SECONDS", 0.5)
    instance.see(10)
    assert until(lambda: asked == ["slow"])
    monkeypatch.setattr(watch, "_RULES_SECONDS", 60.0)
    instance.see(10)
    assert asked == ["slow", "quick"]
    go.release(2)
    assert until(lambda: instance.watch._asked["slow"][1].idle)
    instance.see(10)
    assert asked == ["slow", "quick", "quick", "slow"]


# -- what is remembered ---------------------------------------------------------------------------


def judged(watch: Watch, segment: Segment, counts: Counts, **host: Any) -> Published:  # noqa: ANN401 - figures
    """Have a keeper judge and publish once."""
    before = board.read(segment)
    said = replace(published(host=host), alerts=(), points=())
    found = watch.judged(segment, counts.read(), before, said, Remembered())
    board.publish(segment, found)
    return found


def test_a_keeper_killed_between_ring_and_board_is_repeated_not_doubled() -> None:
    """What was written ahead is not seen; the next keeper writes the same number."""
    segment, counts = Segment(), Counts()
    given: dict[str, Any] = {"alert_for_seconds": 0.0, "alert_memory_threshold": 85.0}
    watch = Watch(Settings(**given), told=())
    judged(watch, segment, counts, memory_percent=50.0)
    said = replace(published(host={"memory_percent": 90.0}), points=())
    watch.judged(segment, counts.read(), board.read(segment), said, Remembered())
    # Killed here: the ring has it, the board does not.
    assert transitions.read(segment, 0) == []
    found = judged(Watch(Settings(**given), told=()), segment, counts, memory_percent=97.0)

    assert found.transitions == 1
    (news,) = transitions.read(segment, found.transitions)
    assert (news.number, news.after, news.value) == (1, "critical", 97.0)


def test_two_hundred_transitions_are_remembered() -> None:
    """The newest 200, whatever was before them."""
    segment, counts = Segment(), Counts()
    given: dict[str, Any] = {"alert_for_seconds": 0.0, "alert_resolve_seconds": 0.0}
    watch = Watch(Settings(**given), told=())
    for _ in range(110):
        judged(watch, segment, counts, memory_percent=97.0)
        judged(watch, segment, counts, memory_percent=10.0)
    numbers = [each.number for each in transitions.read(segment, 220)]

    assert numbers == list(range(21, 221))


def test_alerts_that_cannot_be_judged_stay_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of the whole is reported, and the board goes on with the alerts that it had."""
    segment, counts = Segment(), Counts()
    watch = Watch(Settings(alert_for_seconds=0.0), told=())
    before = judged(watch, segment, counts, memory_percent=97.0)
    monkeypatch.setattr(transitions, "keep", lambda *_: 1 / 0)
    monkeypatch.setattr(watch, "judge", lambda *_: 1 / 0)
    after = judged(watch, segment, counts, memory_percent=10.0)

    assert json.dumps(asdict(after)["alerts"]) == json.dumps(asdict(before)["alerts"])
    assert after.transitions == 1
    assert "alerts" in faults.seen()


# -- trends ---------------------------------------------------------------------------------------


def points(used: list[float]) -> list[Point]:
    """Return a history with so many bytes of disk used, one point a minute."""
    found = []
    for minute, each in enumerate(used):
        values = [each if name == "disk_used" else None for name in SERIES]
        found.append(Point(minute * 60 * SECOND, 60.0 * minute, 60.0, tuple(values)))
    return found


@pytest.mark.parametrize(
    ("used", "hours"),
    [
        ([1e9 + 1e6 * minute for minute in range(60)], 10.0),
        ([1e9 + 1e6 * minute for minute in range(16)], 10.0),
        ([1e9 + 1e6 * minute for minute in range(10)], None),
        ([1e9] * 50 + [3e9] * 10, trends.FAR_HOURS),  # one large file is no trend
        ([1e9 - 1e6 * minute for minute in range(60)], trends.FAR_HOURS),
    ],
)
def test_when_a_disk_is_full_follows_from_the_last_hour(
    used: list[float], hours: float | None
) -> None:
    """600 MB free at 1 MB a minute last ten hours; less than a quarter of an hour tells nothing."""
    assert trends.disk_full_hours(trends.disk_line(points(used)), 6e8) == (
        None if hours is None else pytest.approx(hours)
    )


def test_the_growth_is_that_of_at_least_half_of_the_workers() -> None:
    """Each by its own slope; young workers and small growth do not count."""
    hour = [(60.0 * minute, 0.0) for minute in range(60)]

    def line(start: float, an_hour: float, length: int = 60) -> trends.Line:
        return [(at, start + an_hour * at / 3600) for at, _ in hour[:length]]

    steady, young = line(1e8, 0.0), line(1e8, 9e8, 20)
    assert trends.worker_growth([line(1e8, 4e7), line(1e8, 6e7)]) == pytest.approx(40.0)
    assert trends.worker_growth([line(1e8, 4e7), steady]) == 0.0
    assert trends.worker_growth([line(1e8, 4e7), line(1e8, 4e7), steady]) == pytest.approx(40.0)
    assert trends.worker_growth([line(1e10, 1e8)]) == 0.0  # one percent an hour
    assert trends.worker_growth([young]) is None
    assert trends.worker_growth([]) is None


def _held(memory: Mapping[int, int], _: object) -> Mapping[int, int]:
    return memory


def test_another_keeper_goes_on_with_the_workers_memory() -> None:
    """Samples of an hour lie in the ring; those of the dead and of others' ids are passed over."""
    segment = Segment()
    reading = replace(Counts().read(), workers=(worker(0, pid=11, claimed=5.0),))
    found = []
    for minute in range(45):
        now = replace(reading, monotonic=(10_000 + 60 * minute) * SECOND)
        keeper = trends.Trends(partial(_held, {11: 100_000_000 + 1_000_000 * minute, 12: 5}))
        found.append(keeper.now(segment, now, {}, list))
    assert found[-1].worker_growth == pytest.approx(60.0)
    reused = replace(reading, workers=(worker(0, pid=11, claimed=6.0),))
    assert trends.lines(segment, reused) == []
    assert min(at for _, at, _ in ring.stamps(segment, layout.RESIDENT)) == 10_000 * SECOND


def test_trends_that_fail_are_not_known() -> None:
    """A system that does not tell of memory costs its trend, and one line."""
    found = trends.Trends(lambda reading: {1: reading.lanes[10**9]}).now(
        Segment(), Counts().read(), {}, list
    )

    assert found == trends.Trend()
    assert "trends" in faults.seen()


def test_records_of_another_kind_are_no_memory() -> None:
    """What does not come in threes is passed over as far as it goes."""
    segment, reading = Segment(), Counts().read()
    payload = array("Q", (1, 2, 3)).tobytes()
    ring.write(segment, layout.RESIDENT, Record(1, reading.monotonic, payload), places=64)
    assert trends.lines(segment, reading) == []


# -- what readers see -----------------------------------------------------------------------------


def said(instance: Instance, age: float) -> Published:
    """Return the board of an instance, as it is when its keeper was late for so long."""
    reading = instance.reading
    return replace(
        instance.board,
        monotonic=reading.monotonic - round(age * SECOND),
        labels={"service": "shop", "instance": "h1:80"},
    )


def test_a_late_keeper_is_unknown_and_never_healthy() -> None:
    """Its alerts keep their level, its own fires, and nothing is said to be well."""
    instance = Instance()
    instance.see(60, host={"memory_percent": 90.0, "disk_percent": 10.0})
    on_time, late = said(instance, 5.0), said(instance, 60.0)
    app = ops(counted=instance.reading, said=late)
    health = get("/health", app)
    alerts = {each["id"]: each for each in get("/api/metrics/alerts", app)["alerts"]}

    assert standing.counts(on_time, instance.reading)["total"] == 1
    assert health["status"] == "degraded"
    assert health["monitoring"]["alerts"] == {"critical": 0, "warning": 2, "total": 2}
    assert health["monitoring"]["alerts_state"] == "unknown"
    assert alerts["disk"]["state"] == "unknown"
    assert (alerts["memory"]["state"], alerts["memory"]["level"]) == ("unknown", "warning")
    assert (alerts["collector"]["state"], alerts["collector"]["level"]) == ("firing", "warning")
    assert alerts["collector"]["value"] == pytest.approx(60.0)
    very = said(instance, 200.0)
    assert standing.counts(very, instance.reading)["critical"] == 1


def test_alerts_are_shown_worst_first_with_all_that_is_known() -> None:
    """The shape of an alert, a message with its unit, and how long it still takes."""
    instance = Instance()
    instance.see(40, host={"memory_percent": 90.0})
    instance.see(30, host={"memory_percent": 90.0, "disk_percent": 99.0})
    instance.see(50, host={"memory_percent": 50.0, "disk_percent": 99.0})
    app = ops(counted=instance.reading, said=said(instance, 1.0))
    disk, memory = get("/api/metrics", app)["alerts"]

    assert disk["message"] == "Disk usage is 99% (critical above 97.5%)."
    assert memory == {
        **memory,
        "id": "memory",
        "name": "OtelmonHighMemory",
        "level": "warning",
        "state": "recovering",
        "metric": "system.memory_percent",
        "value": 50.0,
        "unit": "%",
        "comparator": ">",
        "threshold": 85.0,
        "clear_threshold": 76.5,
        "peak": 90.0,
        "message": "Memory usage is 50% (warning above 85%).",
        "duration_seconds": 80.0,
        "resolves_in_seconds": 140.0,
        "samples": 1,
        "runbook_url": None,
        "labels": {"service": "shop", "instance": "h1:80"},
    }
    assert len(memory["fingerprint"]) == 16
