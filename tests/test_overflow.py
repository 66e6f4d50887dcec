"""Who takes too many series, and whose room that costs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from otelmon.metrics.overflow import Overflow, overflows
from tests.gunicorn_server import Gunicorn
from tests.recorded import Metered
from tests.scrapes import samples
from tests.waiting import until


if TYPE_CHECKING:
    from pathlib import Path


def test_requests_keep_their_labels_whatever_an_application_counts(tmp_path: Path) -> None:
    """Past the limit of all, routes that are new are told apart; the counter that took all is named."""
    env = {"OTELMON_CARDINALITY_TOTAL": "150"}
    with Gunicorn(tmp_path, app="tests.apps.exploding:app", workers=2, env=env) as server:
        server.wait_for_workers(seconds=60)
        for number in range(10):
            assert server.get(f"/explode/{number}").status == 200
        for number in range(20):
            assert server.get(f"/route/{number}").status == 200

        def requests() -> dict[str, float]:
            found = samples(server.get("/metrics").text)
            return {k: v for k, v in found.items() if k.startswith("app_requests_total{")}

        def each_is_there() -> bool:
            labels = 'app_requests_total{method="GET",endpoint="/route/%d",status="200"}'
            return all(requests().get(labels % number) == 1 for number in range(20))

        assert until(each_is_there, 60), requests()
        assert not any("overflow" in key for key in requests())
        said = server.get("/api/metrics").json()["otelmon"]["series"]["overflowed"]
        first, victim = said
        assert (first["instrument"], first["attribute"], first["guilty"]) == ("aa", "user", True)
        assert first["series"] > 100
        assert (victim["instrument"], victim["attribute"], victim["guilty"]) == ("bb", None, False)


def test_the_largest_are_the_cause_and_others_found_no_room() -> None:
    """Also one that needs no more itself; past a limit of its own each is its own cause."""
    shop = Metered(series_limit=50, total_limit=100)
    named = partial(overflows, series_limit=50, total_limit=100)
    counters = {name: shop.meter.create_counter(name) for name in ("large", "half", "small")}
    for name, size in (("half", 45), ("large", 50), ("small", 5)):
        for number in range(size):
            counters[name].add(1, {"user": number, "kind": "a"})
    assert named(shop.read()) == []
    counters["small"].add(1, {"user": 99, "kind": "a"})
    assert named(shop.read()) == [
        Overflow("large", "shop", "user", 50, guilty=True),
        Overflow("half", "shop", "user", 45, guilty=True),
        Overflow("small", "shop", None, 5, guilty=False),
    ]
    alone = Metered(series_limit=3)
    alone.meter.create_gauge("rest")
    for number in range(4):
        alone.meter.create_counter("c").add(1, {"n": number})
    (found,) = overflows(alone.read(), series_limit=3, total_limit=10_000)
    assert found == Overflow("c", "shop", "n", 3, guilty=True)


def test_attributes_that_are_too_long_are_nobody_else_s_doing() -> None:
    """Where there is room, what overflows is its own cause."""
    shop = Metered()
    shop.meter.create_counter("other").add(1, {"n": 1})
    shop.meter.create_counter("c").add(1, {"a": "x" * 9000})
    (found,) = overflows(shop.read(), series_limit=2000, total_limit=10_000)
    assert found == Overflow("c", "shop", None, 0, guilty=True)
