"""Rules: what cannot be, what follows from the settings, and what the built-in ones look at."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otelmon
from otelmon import ConfigError, OtelmonError, Rule, Settings
from otelmon.alerts import measures, registry
from otelmon.alerts.built_in import IDS, built_in
from otelmon.alerts.moment import Growing, Measured
from otelmon.alerts.reading import figure, judged
from otelmon.instruments.lookups import OPERATIONS, RESULT
from otelmon.instruments.observing import SCOPE
from otelmon.ledger.instrument import Instrument, Scope
from otelmon.metrics.past import Span
from otelmon.metrics.slope import theil_sen
from otelmon.metrics.snapshots import Snapshot, Tally
from otelmon.settings.thresholds import ALERTS
from tests.alarms import SECOND, Alarm, moment, rule
from tests.sources import Counts


if TYPE_CHECKING:
    from collections.abc import Iterator


SHOP = Scope("shop")


def problems(**given: Any) -> list[str]:  # noqa: ANN401 - fields of Rule
    """Return what is said of a rule that cannot be."""
    with pytest.raises(ConfigError) as caught:
        Rule(**{"id": "level", "warning": 10.0, **given})
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"id": "Level!"}, "id of the rule 'Level!' cannot be"),
        ({"id": ""}, "id of the rule '' cannot be"),
        ({"alertname": "a.b"}, "alertname of the rule 'level' is 'a.b'"),
        ({"comparator": ">="}, "comparator of the rule 'level' is '>=': give > or <."),
        ({"aggregation": "p95"}, "aggregation of the rule 'level' is 'p95'"),
        ({"warning": float("nan")}, "warning of the rule 'level' is nan: give a finite number."),
        ({"warning": True}, "warning of the rule 'level' is True: give a finite number."),
        ({"for_seconds": -1}, "for_seconds of the rule 'level' is -1: give a number from 0 up."),
        ({"critical": 9.0}, "critical of the rule 'level' is 9, not worse than its warning (10)"),
        ({"critical": 10.0}, "give one above that, or None."),
        ({"critical": 11.0, "comparator": "<"}, "give one below that, or None."),
        ({"summary": "x" * 301}, "summary of the rule 'level' is longer than 300 characters"),
        ({"runbook_url": "x" * 2001}, "runbook_url of the rule 'level' is longer than 2000"),
        ({"runbook_url": b"/runbook"}, "runbook_url of the rule 'level' is no text: give a str"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    """The message names the field, its value and the way out."""
    (problem,) = problems(**given)
    assert said in problem


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Every field that cannot be has its sentence."""
    assert len(problems(id="A", comparator="=", warning=float("inf"), margin=-1.0)) == 4


def test_what_is_not_given_follows_from_the_rest() -> None:
    """Name, subject and summary are made of the id."""
    found = Rule(id="queue_depth", warning=10)

    assert (found.alertname, found.metric) == ("QueueDepth", "queue_depth")
    assert found.summary == "Queue_depth is too high."


@given(
    st.sampled_from([">", "<"]),
    st.floats(-1e6, 1e6),
    st.floats(0, 5),
    st.one_of(st.none(), st.floats(0, 1e6)),
)
def test_no_value_both_breaches_and_is_clear(
    comparator: Any,  # noqa: ANN401 - either
    warning: float,
    hysteresis: float,
    margin: float | None,
) -> None:
    """Whatever the rule: a threshold does not breach itself, and the clear level is on its safe side."""
    found = Rule(
        id="a", warning=warning, comparator=comparator, hysteresis=hysteresis, margin=margin
    )
    clear = found.clear("warning")
    assert clear is not None
    for value in (warning, clear, warning + 1, warning - 1):
        assert not (found.breaches(value, "warning") and found.is_clear(value, "warning"))
    assert not found.breaches(warning, "warning")
    assert found.is_clear(clear, "warning")


# -- the built-in ones ----------------------------------------------------------------------------


def by_id(**given: Any) -> dict[str, Rule]:  # noqa: ANN401 - fields of Settings
    """Return the built-in rules of these settings."""
    return {each.id: each for each in built_in(Settings(**given))}


def test_the_thresholds_are_those_of_the_settings() -> None:
    """Levels, times and clear levels are as the specification has them."""
    found = by_id()
    levels = Settings().alert_levels()

    assert found.keys() == IDS == {*levels, "collector"} == {*ALERTS, "collector"}
    assert {each: (found[each].warning, found[each].critical) for each in levels} == levels
    clear = {name: (each.clear("warning"), each.clear("critical")) for name, each in found.items()}
    assert clear["cpu"] == (72.0, 85.5)
    assert clear["memory"] == (76.5, 86.625)
    assert clear["disk"] == (88.0, 95.5)
    assert clear["error_rate"] == (4.5, 9.0)
    assert clear["response_time"] == (900.0, 1800.0)
    assert clear["cache"] == (0.77, 0.44)
    assert clear["disk_full_soon"] == (48.0, 12.0)
    assert (found["collector"].warning, found["collector"].critical) == (35.0, 105.0)
    assert {each.for_seconds for name, each in found.items() if name != "collector"} == {30.0}


def test_a_hit_rate_near_the_best_can_still_clear() -> None:
    """A threshold of 95 % clears half-way to 100 %, not at 104.5 %."""
    assert by_id(alert_cache_hit_rate_threshold=0.95)["cache"].clear("warning") == 0.975


def test_off_takes_the_rule_away() -> None:
    """A rule whose threshold is off is not there; critical alone can be off."""
    found = by_id(alert_cpu_threshold="off", alert_disk_critical_threshold="off")

    assert "cpu" not in found
    assert found["disk"].critical is None


@pytest.mark.parametrize("interval", [1, 10, 30, 60])
def test_a_mean_has_its_collections_at_any_interval(interval: int) -> None:
    """However seldom figures are collected, the CPU's alert can fire."""
    alarm = Alarm(by_id(monitoring_interval=interval)["cpu"], every=interval)
    alarm.hold(100.0, 60 + 5 * interval)

    assert alarm.stands == "firing(critical)"


def test_runbooks_lie_where_the_settings_say() -> None:
    """The address of a runbook ends with the rule's id."""
    found = by_id(alert_runbook_url="https://example.org/runbooks/")

    assert found["cpu"].runbook_url == "https://example.org/runbooks/cpu"
    assert by_id()["cpu"].runbook_url is None


# -- what they look at ----------------------------------------------------------------------------


def span(count: int, errors: int, seconds: int, took: int = 0) -> Span:
    """Return a window with so many requests."""
    before, after = Tally(0, 0, (0,)), Tally(errors, took, (count,))
    return Span(Snapshot(0, before, before, {}), Snapshot(seconds * SECOND, after, after, {}))


@pytest.mark.parametrize(
    ("windows", "wanted"),
    [
        ([(20, 3), (100, 3), (300, 3)], Measured(15.0, 20, 3)),
        ([(19, 3), (100, 5), (300, 5)], Measured(5.0, 100, 5)),
        ([(5, 5), (5, 5), (5, 5)], Measured(100.0, 5, 5)),
        ([(1, 0), (19, 9), (40, 10)], Measured(25.0, 40, 10)),
        ([(0, 0), (100, 100), (300, 100)], None),
    ],
)
def test_a_quiet_service_is_judged_over_longer_windows(
    windows: list[tuple[int, int]], wanted: Measured | None
) -> None:
    """20 requests in 60 s, else in 300 s, else those of 900 s; none in 60 s is no data."""
    spans = {
        seconds: span(*counts, seconds)
        for seconds, counts in zip((60, 300, 900), windows, strict=True)
    }
    assert measures.error_rate(moment(spans=spans)) == wanted


def test_a_mean_is_of_the_last_minute() -> None:
    """The mean in ms, and of how many requests."""
    assert measures.response_time(moment(spans={60: span(4, 0, 60, 2 * SECOND)})) == (
        500.0,
        4,
        None,
    )
    assert measures.response_time(moment(spans={60: span(0, 0, 60)})) is None
    assert measures.response_time(moment()) is None


def gauge(name: str) -> Instrument:
    """Return an instrument of which each process has its own value."""
    return Instrument(name, "gauge", "", "", (), None, SHOP)


def test_the_fullest_pool_counts() -> None:
    """Used by the limit, of the pool where that is most; none without a limit."""
    counts = Counts()
    used = Instrument("db.client.connection.count", "up_down_counter", "", "", (), None, SHOP)
    for name, connections, limit in (("a", 9.0, 10.0), ("b", 1.0, 30.0), ("c", 5.0, None)):
        pool = {"db.client.connection.pool.name": name}
        for state, count in (("used", connections), ("idle", 7.0)):
            series = counts.series(used, {**pool, "db.client.connection.state": state})
            counts.pen.values[series.base : series.base + 2] = array("d", (count, 1.0))
        if limit is not None:
            counts.set(gauge("db.client.connection.max"), limit, **pool)

    assert measures.pool(moment(counts.read())) == 90.0
    assert measures.pool(moment()) is None


def test_workers_are_full_where_it_is_known_how_many_they_are() -> None:
    """In flight by capacity; null where a server does not tell it."""
    full = {"active_connections": 3, "capacity": 4}

    assert measures.saturation(moment(figures=full)) == 75.0
    assert measures.saturation(moment(figures={**full, "capacity": None})) is None


def test_hits_are_counted_over_the_window() -> None:
    """What was hit before the window does not count, and too few look-ups are no data."""
    counts, cache = Counts(), by_id()["cache"]
    alarm = Alarm(cache)
    looked_up = Instrument(OPERATIONS, "counter", "", "", (), 1.0, Scope(SCOPE))
    for hits, misses in ((0, 0), (1000, 0), (20, 20), (10, 40)):
        counts.add(looked_up, hits, **{RESULT: "hit"})
        counts.add(looked_up, misses, **{RESULT: "miss"})
        alarm.see(measures.cache(moment(counts.read())))
    assert alarm.state.value == 1030 / 1090
    alarm.monotonic += 300 * SECOND
    counts.add(looked_up, 10, **{RESULT: "hit"})
    counts.add(looked_up, 90, **{RESULT: "miss"})
    alarm.see(measures.cache(moment(counts.read())))

    assert alarm.state.value == 0.1
    assert alarm.state.samples == 100


# -- rules over any series ------------------------------------------------------------------------


def test_a_rule_goes_by_any_series() -> None:
    """Series of the history, and instruments by their name and attributes, aggregated."""
    counts = Counts()
    for name, value in (("mail", 3.0), ("sms", 5.0)):
        counts.set(gauge("shop.queue"), value, queue=name)
    now = moment(counts.read(), figures={"load_avg": 1.5})

    def seen(**given: Any) -> object:  # noqa: ANN401 - fields of Rule
        return figure(Rule(id="x", warning=1.0, **given), now)

    assert seen(metric="load_avg") == 1.5
    assert seen(metric="shop.queue") == 8.0
    assert seen(metric="shop.queue", aggregation="max") == 5.0
    assert seen(metric="shop.queue", aggregation="min") == 3.0
    assert seen(metric="shop.queue", aggregation="mean") == 4.0
    assert seen(metric="shop.queue", where={"queue": "mail"}) == 3.0
    assert seen(metric="shop.queue", where={"queue": "fax"}) is None
    assert seen(metric="shop.nothing") is None
    assert seen(value=lambda found: found.metric("shop.queue", "max")) == 5.0


def test_a_counters_first_amount_counts() -> None:
    """The rate of a counter that was not there yet begins with nothing, which is no data."""
    counts = Counts()
    orders = Instrument("shop.orders", "counter", "", "", (), 1.0, SHOP)
    alarm = Alarm(rule(metric="shop.orders", aggregation="rate", window_seconds=60.0))

    def see() -> None:
        now = moment(counts.read(), monotonic=alarm.monotonic)
        alarm.see(figure(alarm.rule, now))

    see()
    assert alarm.stands == "no_data"
    counts.add(orders, 50)
    see()
    assert alarm.state.value == 5.0  # 50 in 10 s
    for _ in range(6):
        see()
    assert alarm.state.value == 0.0


def test_a_histogram_has_an_average_over_the_window() -> None:
    """Amounts by records; another aggregation of it says what to give."""
    counts = Counts()
    wait = Instrument("shop.wait", "histogram", "s", "", (1.0, 10.0), 1.0, SHOP)
    found = rule(metric="shop.wait", aggregation="average", window_seconds=60.0)
    alarm = Alarm(found)
    for amounts in ((), (2, 4), (9,)):
        for amount in amounts:
            counts.record(wait, amount, {})
        alarm.see(figure(found, moment(counts.read(), monotonic=alarm.monotonic)))

    assert (alarm.state.value, alarm.state.samples) == (5.0, 3)
    with pytest.raises(OtelmonError, match="give rate or average"):
        moment(counts.read()).metric("shop.wait")
    counts.set(gauge("shop.queue"), 1.0)
    with pytest.raises(OtelmonError, match="no histogram"):
        moment(counts.read()).metric("shop.queue", "average")


def test_totals_that_fall_begin_anew() -> None:
    """After a new ledger nothing is said until there is growth again."""
    found = rule(window_seconds=60.0)
    memory: tuple[tuple[float, ...], ...] = ()
    values = []
    for at, total in enumerate((100, 110, 5, 7)):
        measured, memory = judged(found, Growing(total, total), memory, at * SECOND)
        values.append(measured)

    assert values == [None, Measured(1.0, 10), None, Measured(1.0, 2)]


@given(st.sampled_from([1, 2, 10, 60]), st.integers(2, 400))
def test_what_a_rule_remembers_is_bounded(every: int, count: int) -> None:
    """At any interval, for as long as it may be, a window of 300 s has 160 samples at the most."""
    found = rule(window_seconds=300.0)
    memory: tuple[tuple[float, ...], ...] = ()
    for at in range(count):
        _, memory = judged(found, 1.0, memory, at * every * SECOND)
        assert len(memory) <= 160
        assert memory[-1][0] - memory[0][0] < 300 * SECOND


# -- slopes and registration ----------------------------------------------------------------------


@given(st.floats(-100, 100), st.integers(0, 8))
def test_what_lies_far_off_does_not_move_the_slope(slope: float, wild: int) -> None:
    """Up to a quarter of the points may be anything."""
    points = [(float(x), slope * x) for x in range(40)]
    for number in range(wild):
        points[number * 4] = (points[number * 4][0], 1e9)

    assert theil_sen(points) == pytest.approx(slope, abs=1e-6)
    assert theil_sen(points[:1]) is None


@pytest.fixture
def _no_rules() -> Iterator[None]:
    yield
    registry.forget()


@pytest.mark.usefixtures("_no_rules")
def test_a_rule_with_the_id_of_a_built_in_one_is_refused() -> None:
    """Their thresholds are settings; a rule of one's own replaces the last one with its id."""
    with pytest.raises(ConfigError, match="is built in: give yours another id"):
        otelmon.add_rule(rule())
    for warning in (1.0, 2.0):
        otelmon.add_rule(rule(id="mine", warning=warning, critical=None))
    assert [each.warning for each in registry.rules()] == [2.0]
