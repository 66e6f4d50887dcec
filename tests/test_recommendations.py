"""Each recommendation, of evidence made up: when it speaks, when it does not, and what it says."""

from __future__ import annotations

from typing import Final

import pytest

from otelmon.metrics.overflow import Overflow
from otelmon.recommendations.catalogue import RULES
from otelmon.recommendations.evidence import Client
from otelmon.recommendations.verdict import PASS
from otelmon.settings import Settings
from tests.evidences import (
    LIMITED,
    OFF,
    SYNC,
    Case,
    beside,
    evidence,
    grown,
    points,
    pool,
    repeating,
    requests,
    route,
    rule,
    window,
)


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
            "growth": grown(38e6, 38e6, 0.0),
            "points": points(request_count=900),
            "host": {"memory_available": 684_000_000},
        },
        "grows about 38 MB/h (400 MB now; memory is used up in about 9 h)",
    ),
    Case("R004", "pass", {"growth": grown(38e6, 0, 0), "points": points(request_count=900)}),
    Case("R004", "pass", {"growth": grown(19e6), "points": points(request_count=900)}),
    Case("R004", "insufficient_data", {"growth": grown(38e6), "points": points(request_count=9)}),
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
    Case("R021", "recommend", requests(100, unmatched=12), "12% of requests have no route"),
    Case("R021", "pass", requests(100, unmatched=10)),
    Case("R021", "insufficient_data", requests(99, unmatched=99)),
    Case(
        "R022",
        "recommend",
        {**requests(1000, client_errors=270), "client_errors": Client("GET {unmatched}", "404")},
        "27% of requests (270 of 1,000) are answered 4xx, mostly 404 of GET {unmatched}.",
    ),
    Case("R022", "pass", requests(1000, client_errors=200)),
    Case("R022", "insufficient_data", requests(199, client_errors=199)),
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
        {"workers": 4, "measured": pool(most=30)},
        "Up to 120 database connections are possible (4 workers x 30), and PostgreSQL allows 100 "
        "unless told otherwise. Consider: DB_POOL_SIZE=8, DB_MAX_OVERFLOW=16, or a pooler.",
    ),
    Case("R014", "pass", {"workers": 4, "measured": pool(most=25)}),
    Case("R014", "not_applicable", {"workers": 4}),
    Case(
        "R014",
        "recommend",
        {"workers": 4, "measured": pool(most=25, told=97)},
        "(4 workers x 25), and the server allows 97. Consider: DB_POOL_SIZE=8, DB_MAX_OVERFLOW=16",
    ),
    Case("R014", "pass", {"workers": 4, "measured": pool(most=30, told=120)}),
    Case(
        "R014",
        "recommend",
        {"workers": 4, "measured": pool(most=40, named="mysql/shop")},
        "and MySQL allows 151 unless told otherwise",
    ),
    Case("R014", "pass", {"workers": 4, "measured": pool(most=30, named="mariadb/shop")}),
    # A file has no such limit, and whoever names a pool does not say what is behind it.
    Case("R014", "not_applicable", {"workers": 40, "measured": pool(most=15, named="sqlite/a")}),
    Case("R014", "not_applicable", {"workers": 40, "measured": pool(most=15, named="main")}),
    Case(
        "R014",
        "recommend",
        {"workers": 40, "measured": pool(most=15, named="main", told=97)},
        "the server allows 97. Consider: DB_POOL_SIZE=1, DB_MAX_OVERFLOW=1, or a pooler.",
    ),
    Case(
        "R014",
        "recommend",
        {"workers": 40, "measured": pool(most=15, told=30)},
        "the server allows 30. Consider: fewer workers, or a pooler.",
    ),
    Case(
        "R014",
        "pass",
        {
            "workers": 4,
            "measured": beside(pool(most=50, told=500), pool(most=2, named="a", told=30)),
        },
    ),
    Case(
        "R015",
        "recommend",
        {"measured": repeating(requests=40, repeated=20), "counts": {"n_plus_one": 5}},
        "GET /orders runs one statement 10 times or more in 50% of its requests (SELECT ? FROM items).",
    ),
    # Repaired: nobody did so in the last 15 minutes.
    Case(
        "R015",
        "pass",
        {"measured": repeating(requests=40, repeated=20), "counts": {"n_plus_one": 4}},
    ),
    Case(
        "R015",
        "pass",
        {"measured": repeating(requests=500, repeated=20), "counts": {"n_plus_one": 9}},
    ),
    Case("R015", "not_applicable", {"counts": {"n_plus_one": 9}}),
    Case(
        "R016",
        "recommend",
        {"counts": {"cache_hits": 451, "cache_misses": 549}},
        "Low cache hit rate (45.1%). Consider: increasing cache TTL, warming cache, or expanding "
        "cache coverage.",
    ),
    Case("R016", "pass", {"counts": {"cache_hits": 70, "cache_misses": 30}}),
    Case("R016", "insufficient_data", {"counts": {"cache_hits": 0, "cache_misses": 99}}),
    Case("R016", "not_applicable", {}),
    Case(
        "R016",
        "not_applicable",
        {"settings": OFF, "counts": {"cache_hits": 0, "cache_misses": 999}},
    ),
    # -- otelmon and its settings
    Case("R023", "recommend", {"faults": {"history": 3}}, "these failed: history (3 times)."),
    Case("R023", "recommend", {"complete": False}, "totals are incomplete"),
    Case("R023", "recommend", {"counts": {"push_failures": 14, "pushes": 0}}, "(failed 14 times)"),
    Case("R023", "pass", {"counts": {"push_failures": 14, "pushes": 1}}),
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
    Case(
        "R027",
        "recommend",
        {"counts": {"unknown_clients": 20}},
        "20 requests in 15 minutes came from a proxy or a unix socket",
    ),
    Case("R027", "pass", {"counts": {"unknown_clients": 19}}),
]


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
