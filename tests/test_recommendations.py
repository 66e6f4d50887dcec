"""Each recommendation, of evidence made up: when it speaks, when it does not, and what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from otelmon import faults
from otelmon.errors import ConfigError
from otelmon.ledger.instrument import Instrument
from otelmon.metrics import slope
from otelmon.metrics.history import SERIES, Point
from otelmon.metrics.overflow import Overflow
from otelmon.metrics.rows import Row
from otelmon.metrics.summary import UNKNOWN
from otelmon.recommendations import advice, diary
from otelmon.recommendations.catalogue import RULES, Rule, review
from otelmon.recommendations.diary import Entry, Growth
from otelmon.recommendations.evidence import Client, Evidence, Route, Server
from otelmon.recommendations.verdict import PASS, Verdict
from otelmon.settings import Settings


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


SECOND: Final = 1_000_000_000
PAGE: Final = Path(__file__).parent.parent / "docs" / "recommendations.md"


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    """Start and end without any."""
    faults.forget()
    yield
    faults.forget()


def points(*, every: float = 60.0, **series: Sequence[float] | float) -> list[Point]:
    """Return an hour of history with these series; one value stands for all points."""
    count = round(3600 / every)
    columns = {
        name: [value] * count if isinstance(value, (int, float)) else list(value)
        for name, value in series.items()
    }
    return [
        Point(
            round(number * every * SECOND),
            number * every,
            every,
            tuple(columns[name][number] if name in columns else None for name in SERIES),
        )
        for number in range(count)
    ]


def window(**given: Any) -> dict[int, Any]:  # noqa: ANN401 - fields of Figures
    """Return windows that all say the same."""
    return dict.fromkeys((60, 300, 900), replace(UNKNOWN, seconds=900.0, **given))


def route(name: str = "GET /report", **given: Any) -> Route:  # noqa: ANN401 - fields of Route
    """Return a route that is well."""
    fine = Route(name, 1000, 1.0, 0, 20.0, 50.0, 0.5, at_least=False)
    return fine._replace(**given)


def row(name: str, value: float, **attributes: str) -> Row:
    """Return a row of an instrument."""
    instrument = Instrument(name, "up_down_counter", "1", "")
    found = {key.replace("__", "."): text for key, text in attributes.items()}
    return Row(instrument, tuple(sorted(found.items())), value, worker=0)


_POOL: Final = "db.client.connection"


def pool(*, used: float, most: float, waits: tuple[int, ...] | None = None) -> dict[str, list[Row]]:
    """Return what is measured of one pool."""
    name = {"db__client__connection__pool__name": "main"}
    found = {
        f"{_POOL}.count": [
            row(f"{_POOL}.count", used, db__client__connection__state="used", **name),
            row(f"{_POOL}.count", most - used, db__client__connection__state="idle", **name),
        ],
        f"{_POOL}.max": [row(f"{_POOL}.max", most, **name)],
    }
    if waits is not None:
        instrument = Instrument(f"{_POOL}.wait_time", "histogram", "s", "", (0.01, 0.1, 1.0))
        found[f"{_POOL}.wait_time"] = [Row(instrument, (), 1.0, waits)]
    return found


SYNC: Final = Server("sync", 4, 1, 30.0)
CACHE: Final = {"otelmon.cache.operations": [row("otelmon.cache.operations", 1, result="hit")]}
LIMITED: Final = {"container_cpu_limit": 0.5, "container_memory_limit": 512_000_000}
OFF: Final = Settings(
    alert_cpu_threshold="off",
    alert_memory_threshold="off",
    alert_disk_threshold="off",
    alert_response_time_threshold="off",
    alert_cache_hit_rate_threshold="off",
)


class Case(NamedTuple):
    """Evidence beside what is always there, how it is judged, and what is said."""

    id: str
    status: str
    given: dict[str, Any]
    said: str = ""


def _grown(*speeds: float) -> list[Growth]:
    return [Growth(slot, speed, 400_000_000, 3600) for slot, speed in enumerate(speeds)]


def _requests(count: int, **more: float) -> dict[str, Any]:
    return {"counts": {"requests": count, **more}}


CASES: Final = [
    # -- CPU and memory
    Case("R001", "recommend", {"points": points(cpu_percent=75.2)}, "High CPU usage (75.2%). Cons"),
    Case("R001", "recommend", {"points": points(cpu_percent=70.0)}, "(70.0%)"),
    Case("R001", "pass", {"points": points(cpu_percent=69.9)}),
    Case("R001", "insufficient_data", {}),
    Case("R001", "not_applicable", {"settings": OFF, "points": points(cpu_percent=99)}),
    Case(
        "R002",
        "recommend",
        {"host": LIMITED, "counts": {"cpu_periods": 1000, "cpu_throttled_periods": 230}},
        "throttled in 23% of periods (quota 0.5 CPU)",
    ),
    Case(
        "R002",
        "pass",
        {"host": LIMITED, "counts": {"cpu_periods": 1000, "cpu_throttled_periods": 100}},
    ),
    Case("R002", "insufficient_data", {"host": LIMITED, "counts": {"cpu_periods": 9}}),
    Case("R002", "not_applicable", {"counts": {"cpu_periods": 9, "cpu_throttled_periods": 9}}),
    Case("R003", "recommend", {"points": points(memory_percent=82.0)}, "memory usage (82.0%)"),
    Case("R003", "pass", {"points": points(memory_percent=74.0)}),
    Case("R003", "insufficient_data", {}),
    Case("R003", "not_applicable", {"settings": OFF}),
    Case(
        "R004",
        "recommend",
        {
            "growth": _grown(38e6, 38e6, 0.0),
            "points": points(request_count=900),
            "host": {"memory_available": 684_000_000},
        },
        "grows about 38 MB/h (400 MB now; memory is used up in about 9 h)",
    ),
    Case("R004", "pass", {"growth": _grown(38e6, 0, 0), "points": points(request_count=900)}),
    Case("R004", "pass", {"growth": _grown(19e6), "points": points(request_count=900)}),
    Case("R004", "insufficient_data", {"growth": _grown(38e6), "points": points(request_count=9)}),
    Case("R004", "insufficient_data", {"points": points(request_count=900)}),
    Case(
        "R020",
        "recommend",
        {"host": {**LIMITED, "container_memory_percent": 91.0, "memory_percent_host": 40.2}},
        "Memory is at 91% of the container limit (512 MB) although the host shows 40%.",
    ),
    Case(
        "R020",
        "recommend",
        {"host": {**LIMITED, "container_memory_percent": 50.0}, "counts": {"oom_kills": 2}},
        "and 2 processes were killed for it",
    ),
    Case("R020", "pass", {"host": {**LIMITED, "container_memory_percent": 85.0}}),
    Case("R020", "insufficient_data", {"host": LIMITED}),
    Case("R020", "not_applicable", {"host": {"container_memory_percent": 99.0}}),
    # -- disk
    Case("R005", "recommend", {"host": {"disk_percent": 88.0}}, "is 88.0% full. Consider"),
    Case(
        "R005",
        "recommend",
        {
            "host": {"disk_percent": 50.0, "disk_free": 31_000_000_000},
            "points": points(disk_used=[n * 1e9 / 60 for n in range(60)]),
        },
        "fills in about 31 h at the current rate",
    ),
    Case(
        "R005",
        "pass",
        {
            "host": {"disk_percent": 50.0, "disk_free": 31_000_000_000},
            "points": points(disk_used=[n * 1e6 for n in range(60)]),
        },
    ),
    Case("R005", "pass", {"host": {"disk_percent": 78.0}}),
    Case("R005", "insufficient_data", {}),
    Case("R005", "not_applicable", {"settings": OFF}),
    # -- requests
    Case(
        "R006",
        "recommend",
        {
            "windows": window(count=1280, errors=41, error_rate=3.203),
            "routes": [
                route("GET /"),
                route("POST /checkout", errors=36, error_types=("IntegrityError", "500")),
            ],
        },
        "Error rate is 3.2% (41 of 1,280 requests); 88% come from POST /checkout (IntegrityError).",
    ),
    Case("R006", "pass", {"windows": window(count=1280, errors=12, error_rate=0.94)}),
    Case("R006", "insufficient_data", {"windows": window(count=99, errors=50, error_rate=50.5)}),
    Case("R006", "insufficient_data", {"windows": window(count=0, errors=0)}),
    Case(
        "R007",
        "recommend",
        {
            "routes": [
                route(p95=2400.0, time_share=0.34, rate=1.5, mean=1200.0),
                route("GET /rare", p95=9000.0, time_share=0.01),
            ]
        },
        "GET /report is slow (p95 2.4 s) and uses 34% of all request time. Halving it would free "
        "about 0.9 workers.",
    ),
    Case("R007", "recommend", {"routes": [route(p95=1e4, at_least=True)]}, "(p95 above 10.0 s)"),
    Case("R007", "pass", {"routes": [route(p95=1000.0)]}),
    Case("R007", "pass", {"routes": [route(p95=9000.0, time_share=0.049)]}),
    Case("R007", "insufficient_data", {"routes": [route(requests=19, p95=9000.0)]}),
    Case("R007", "not_applicable", {"settings": OFF, "routes": [route(p95=9000.0)]}),
    Case(
        "R008",
        "recommend",
        {"server": SYNC, "points": points(oldest_request_seconds=22.0)},
        "The slowest requests (22.0 s) are close to the 30 s worker timeout.",
    ),
    Case(
        "R008",
        "recommend",
        {"server": SYNC._replace(timeout=5.0), "windows": window(p99=4000.0)},
        "(4.0 s) are close to the 5 s",
    ),
    Case("R008", "pass", {"server": SYNC, "windows": window(p99=9000.0)}),
    Case("R008", "insufficient_data", {"server": SYNC}),
    Case("R008", "not_applicable", {"windows": window(p99=9e9)}),
    Case("R008", "not_applicable", {"server": SYNC._replace(worker_class="gthread")}),
    Case("R008", "not_applicable", {"server": SYNC._replace(timeout=0.0)}),
    Case("R021", "recommend", _requests(100, unmatched=12), "12% of requests have no route"),
    Case("R021", "pass", _requests(100, unmatched=10)),
    Case("R021", "insufficient_data", _requests(99, unmatched=99)),
    Case(
        "R022",
        "recommend",
        {**_requests(1000, client_errors=270), "client_errors": Client("GET {unmatched}", "404")},
        "27% of requests (270 of 1,000) are answered 4xx, mostly 404 of GET {unmatched}.",
    ),
    Case("R022", "pass", _requests(1000, client_errors=200)),
    Case("R022", "insufficient_data", _requests(199, client_errors=199)),
    # -- workers
    Case(
        "R009",
        "recommend",
        {
            "workers": 4,
            "queue_p95": 240.0,
            "points": points(workers_busy=3.72, workers_total=4, cpu_percent=40),
        },
        "Workers are 93% busy and requests wait 240 ms (p95) before they start. Consider: adding "
        "workers (4 -> 6, the CPU has room)",
    ),
    Case(
        "R009",
        "recommend",
        {"workers": 1, "points": points(workers_busy=1, workers_total=2, accept_backlog=7)},
        "up to 7 connections wait",
    ),
    Case(
        "R009",
        "recommend",
        {"points": points(active_connections=15, capacity=16, workers_busy=1, workers_total=4)},
        "Workers are 94% busy",
    ),
    Case("R009", "pass", {"points": points(workers_busy=3.2, workers_total=4), "queue_p95": 99.0}),
    Case("R009", "pass", {"points": points(workers_busy=0, workers_total=4, accept_backlog=7)}),
    Case("R009", "insufficient_data", {"queue_p95": 240.0}),
    Case(
        "R009",
        "not_applicable",
        {"points": points(workers_busy=4, workers_total=4, cpu_percent=85)},
    ),
    Case(
        "R010",
        "recommend",
        {
            "workers": 17,
            "host": {"cpu_count": 2},
            "points": points(workers_busy=[3, *[1] * 59]),
            "memory": dict.fromkeys(range(17), 120_000_000),
        },
        "17 workers on 2 CPUs but at most 3 were ever busy. Reducing to 6 would free about 1.3 GB.",
    ),
    Case(
        "R010", "pass", {"workers": 5, "host": {"cpu_count": 2}, "points": points(workers_busy=0)}
    ),
    Case(
        "R010", "pass", {"workers": 17, "host": {"cpu_count": 2}, "points": points(workers_busy=4)}
    ),
    Case(
        "R010",
        "pass",
        {"workers": 7, "host": {"cpu_count": 2}, "points": points(workers_busy=[4, *[0] * 59])},
    ),
    Case("R010", "insufficient_data", {"workers": 17, "host": {"cpu_count": 2}}),
    Case(
        "R011",
        "recommend",
        {"server": SYNC._replace(workers=1), "host": {"cpu_count": 2}},
        "Only 1 worker: one slow request blocks all others. Consider: --workers 5.",
    ),
    Case(
        "R011",
        "recommend",
        {
            "server": SYNC,
            "host": {"cpu_count": 8},
            "points": points(workers_busy=3, workers_total=4),
        },
        "4 workers for 8 CPUs, and 75% of them are busy.",
    ),
    Case(
        "R011",
        "pass",
        {
            "server": SYNC,
            "host": {"cpu_count": 8},
            "points": points(workers_busy=1, workers_total=4),
        },
    ),
    Case("R011", "pass", {"server": SYNC._replace(workers=1, threads=4, worker_class="gthread")}),
    Case("R011", "not_applicable", {}),
    # -- databases and caches
    Case(
        "R013",
        "recommend",
        {
            "measured": pool(used=29, most=30, waits=(50, 20, 30, 0)),
            "counts": {"pool_timeouts": 4},
        },
        "The database pool is exhausted (29 of 30 in use, wait p95 ",
    ),
    Case("R013", "recommend", {"measured": pool(used=27, most=30)}, "(27 of 30 in use)"),
    Case("R013", "recommend", {"measured": pool(used=1, most=30, waits=(0, 0, 9, 0))}, "wait p95"),
    Case("R013", "pass", {"measured": pool(used=26, most=30, waits=(100, 0, 0, 0))}),
    Case("R013", "not_applicable", {"measured": pool(used=5, most=0)}),
    Case("R013", "not_applicable", {}),
    Case(
        "R014",
        "recommend",
        {"workers": 4, "measured": pool(used=0, most=30)},
        "Up to 120 database connections are possible (4 workers x 30), and PostgreSQL allows 100 "
        "unless told otherwise. Consider: DB_POOL_SIZE=8, DB_MAX_OVERFLOW=16, or a pooler.",
    ),
    Case("R014", "pass", {"workers": 4, "measured": pool(used=0, most=25)}),
    Case("R014", "not_applicable", {"workers": 4}),
    Case(
        "R016",
        "recommend",
        {"measured": CACHE, "counts": {"cache_hits": 451, "cache_misses": 549}},
        "Low cache hit rate (45.1%). Consider: increasing cache TTL, warming cache, or expanding "
        "cache coverage.",
    ),
    Case("R016", "pass", {"measured": CACHE, "counts": {"cache_hits": 70, "cache_misses": 30}}),
    Case("R016", "insufficient_data", {"measured": CACHE, "counts": {"cache_misses": 99}}),
    Case("R016", "not_applicable", {"counts": {"cache_misses": 999}}),
    Case(
        "R016",
        "not_applicable",
        {"settings": OFF, "measured": CACHE, "counts": {"cache_misses": 999}},
    ),
    # -- otelmon and its settings
    Case("R023", "recommend", {"faults": {"history": 3}}, "these failed: history (3 times)."),
    Case("R023", "recommend", {"complete": False}, "totals are incomplete"),
    Case("R023", "recommend", {"points": points(cpu_percent=1), "interval": 40.0}, "only 67% of"),
    Case("R023", "pass", {"points": points(cpu_percent=1), "interval": 60.0}),
    Case("R024", "recommend", {}, "No database or Redis check is registered"),
    Case("R024", "pass", {"checks": 1}),
    Case(
        "R025",
        "recommend",
        {"settings": Settings(owned={"DB_POOL_SIZE": "5", "REDIS_URL": "redis://:secret@h"})},
        "2 variables are set that no part of otelmon uses: DB_POOL_SIZE, REDIS_URL.",
    ),
    Case(
        "R025",
        "pass",
        {"settings": Settings(owned={"DB_POOL_SIZE": "5"}), "used": frozenset({"DB_POOL_SIZE"})},
    ),
    Case(
        "R026",
        "recommend",
        {"overflows": [Overflow("shop.seen", "shop", "user")]},
        "shop.seen has more than the 2,000 series it may have",
    ),
    Case("R026", "pass", {}),
]


def evidence(**given: Any) -> Evidence:  # noqa: ANN401 - fields of Evidence
    """Return an hour's evidence with what is given."""
    return Evidence(**{"settings": Settings(), "seconds": 3600.0, **given})


def rule(number: str) -> Rule:
    """Return a rule by the end of its id."""
    (found,) = (each for each in RULES if each.id == f"OTM-{number}")
    return found


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.id}-{case.status}-{number}" for number, case in enumerate(CASES)]
)
def test_a_recommendation_is_judged_by_its_figures(case: Case) -> None:
    """What is given beside nothing else makes it recommend, pass, or say why it cannot tell."""
    verdict = rule(case.id).judge(evidence(**case.given))

    assert verdict.status == case.status, verdict
    if case.status == "recommend":
        assert verdict.finding is not None
        assert case.said in verdict.finding.message
        assert "Consider: " in verdict.finding.message
        assert verdict.finding.actions
        assert "secret" not in str(verdict.finding)
    else:
        assert verdict.finding is None
        assert verdict.reason or verdict is PASS


def test_every_recommendation_is_tried_both_ways() -> None:
    """The table has a case that recommends and one that does not for each of them."""
    for each in RULES:
        statuses = {case.status for case in CASES if f"OTM-{case.id}" == each.id}
        assert {"recommend", "pass"} <= statuses, each.id


def test_what_is_far_past_the_alert_is_critical() -> None:
    """Severity follows the critical threshold of the alert of the same figure."""
    for percent, severity in ((94.0, "warning"), (96.0, "critical")):
        finding = rule("R001").judge(evidence(points=points(cpu_percent=percent))).finding
        assert finding is not None
        assert finding.severity == severity


def test_advice_about_load_waits_for_five_minutes() -> None:
    """With figures of 299 s only what is about configuration is said."""
    given = {"points": points(cpu_percent=99), "server": SYNC._replace(workers=1)}
    early = {each.rule.id: each for each in review(evidence(seconds=299.0, **given))}
    late = {each.rule.id: each for each in review(evidence(seconds=300.0, **given))}

    assert early["OTM-R001"].verdict == Verdict(
        "insufficient_data", "There are figures of 299 s; 300 s are needed."
    )
    assert late["OTM-R001"].is_made
    assert {id_ for id_, each in early.items() if each.is_made} == {"OTM-R011", "OTM-R024"}


@pytest.mark.parametrize("silenced", ["OTM-R024", "otm-r024", "no-checks"])
def test_a_recommendation_can_be_silenced(silenced: str) -> None:
    """By its id or its slug; it is still listed with its status."""
    settings = Settings(recommendations_silenced=(silenced,))
    found = advice.advice(review(evidence(settings=settings)), 1.0, None)

    assert "OTM-R024" not in {each["id"] for each in found.made}
    (listed,) = (each for each in found.checked if each["id"] == "OTM-R024")
    assert (listed["status"], listed["silenced"]) == ("recommend", True)


def test_the_cause_is_named_and_not_its_symptom() -> None:
    """A full container speaks for the memory, an exhausted pool for busy workers."""
    given = {
        "host": {**LIMITED, "container_memory_percent": 91.0},
        "measured": pool(used=30, most=30),
        "points": points(memory_percent=91.0, workers_busy=4, workers_total=4),
    }
    found = {each.rule.id: each for each in review(evidence(**given))}

    assert found["OTM-R003"].suppressed_by == "OTM-R020"
    assert found["OTM-R009"].suppressed_by == "OTM-R013"
    assert not found["OTM-R003"].is_made
    assert found["OTM-R020"].is_made
    assert found["OTM-R013"].is_made


def test_a_recommendation_that_fails_takes_no_other_with_it() -> None:
    """It is reported as a fault, and the rest is judged."""

    def fail(_: Evidence) -> Verdict:
        raise ConfigError("no")

    broken, sound = rule("R001")._replace(judge=fail), rule("R024")
    found = review(evidence(), [broken, sound])

    assert found[0].verdict.status == "insufficient_data"
    assert found[1].is_made
    assert faults.seen()["recommendation"].error == "ConfigError"


def test_worst_comes_first_and_since_goes_on() -> None:
    """Items are ordered by severity, and keep the time at which they were first made."""
    given = {"measured": pool(used=30, most=30), "counts": {"pool_timeouts": 1}}
    first = advice.advice(review(evidence(**given)), 1.0, None)
    second = advice.advice(review(evidence(checks=1, **given)), 99.0, first)
    third = advice.advice(review(evidence()), 99.0, second)

    assert [each["id"] for each in first.made] == ["OTM-R013", "OTM-R024"]
    assert [each["since"] for each in second.made] == ["1970-01-01T00:00:01.000Z"]
    assert [each["since"] for each in third.made] == ["1970-01-01T00:01:39.000Z"]


def test_ids_and_slugs_are_unique_and_documented() -> None:
    """docs/recommendations.md has a section for each, by its id, and for no other."""
    assert len({each.id for each in RULES}) == len({each.slug for each in RULES}) == len(RULES)
    sections = [line for line in PAGE.read_text().splitlines() if line.startswith("### OTM-")]

    assert sorted(line.split()[1] for line in sections) == [each.id for each in RULES]
    assert all(f"`{rule_.slug}`" in PAGE.read_text() for rule_ in RULES)


# -- what they are made of ------------------------------------------------------------------------


def _entry(minutes: float, resident: int = 1, pid: int = 7, **counts: float) -> Entry:
    return Entry(round(minutes * 60 * SECOND), counts, {"0": (pid, resident)})


def test_the_diary_has_an_entry_a_minute_for_an_hour() -> None:
    """What comes sooner is left out, and the oldest goes."""
    entries: list[Entry] = []
    for step in range(240):
        entries = diary.noted(entries, _entry(step / 2), step=60)

    assert len(entries) == diary.MOST_ENTRIES
    assert {entries[n + 1].monotonic - entries[n].monotonic for n in range(60)} == {60 * SECOND}
    assert diary.decode(diary.encode(entries)) == entries


@pytest.mark.parametrize("damaged", [b"", b"[", b"[[1]]", b'[[1, {}, {"0": 7}]]', b"7"])
def test_a_damaged_diary_is_begun_anew(damaged: bytes) -> None:
    """Another version's, or none, is an empty one."""
    assert diary.decode(damaged) == []


def test_what_was_counted_is_what_came_to_it() -> None:
    """Over the window, or since the diary began; what fell or was not counted then is not known."""
    entries = [_entry(n, hits=10 * n, lost=100 - n) for n in range(31)]
    now = _entry(31, hits=310, lost=1, new=5)

    assert diary.counted(entries, now, 900) == {"hits": 150}
    assert diary.counted(entries[30:], now, 900) == {"hits": 10}
    assert diary.counted([], now, 900) == {}
    assert diary.counted([now], now, 900) == {}


def test_growth_is_of_one_process_that_was_looked_at_for_long() -> None:
    """One MB a minute is 60 MB an hour, whatever one sample says; another process begins anew."""
    entries = [_entry(n, 10**9 + n * 10**6) for n in range(40)]
    entries[20] = _entry(20, 5 * 10**9)
    (found,) = diary.growth(entries, _entry(40, 10**9 + 40 * 10**6))

    assert found.bytes_per_hour == pytest.approx(60e6)
    assert diary.growth(entries[:20], _entry(20)) == []
    assert diary.growth(entries, _entry(40, pid=8)) == []


def test_a_slope_is_not_moved_by_what_lies_far_off() -> None:
    """The median of all pairs' slopes; of many points some are enough."""
    line = [(float(x), 3.0 * x) for x in range(3600)]
    line[1800] = (1800.0, 1e9)

    assert slope.theil_sen(line) == pytest.approx(3.0)
    assert slope.theil_sen(line[:1]) is None
    assert slope.theil_sen([(1.0, 2.0), (1.0, 3.0)]) is None
