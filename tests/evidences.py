"""Evidence made up for tests of recommendations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelmon.instruments.databases.limits import LIMIT
from otelmon.ledger.instrument import Instrument
from otelmon.metrics.history import SERIES, Point
from otelmon.metrics.rows import Row
from otelmon.metrics.summary import UNKNOWN
from otelmon.recommendations import n_plus_one
from otelmon.recommendations.catalogue import RULES, Rule
from otelmon.recommendations.diary import Growth
from otelmon.recommendations.evidence import Evidence, Route, Server
from otelmon.settings import Settings


if TYPE_CHECKING:
    from collections.abc import Sequence


SECOND: Final = 1_000_000_000


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


def pool(
    *,
    used: float = 0,
    most: float,
    waits: tuple[int, ...] | None = None,
    named: str = "postgresql/shop",
    told: float | None = None,
) -> dict[str, list[Row]]:
    """Return what is measured of one pool, and what its server has told that it allows."""
    name = {"db__client__connection__pool__name": named}
    found = {
        f"{_POOL}.count": [
            row(f"{_POOL}.count", used, db__client__connection__state="used", **name),
            row(f"{_POOL}.count", most - used, db__client__connection__state="idle", **name),
        ],
        f"{_POOL}.max": [row(f"{_POOL}.max", most, **name)],
    }
    if told is not None:
        found[LIMIT] = [row(LIMIT, told, **name)]
    if waits is not None:
        instrument = Instrument(f"{_POOL}.wait_time", "histogram", "s", "", (0.01, 0.1, 1.0))
        found[f"{_POOL}.wait_time"] = [Row(instrument, (), 1.0, waits)]
    return found


def beside(*measured: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Return what is measured of several pools."""
    names = {name for each in measured for name in each}
    return {name: [row for each in measured for row in each.get(name, ())] for name in names}


def repeating(*, requests: int, repeated: int) -> dict[str, list[Row]]:
    """Return what is measured of the queries of GET /orders, and of GET /items that asks well."""
    counted = Instrument(n_plus_one.QUERIES, "histogram", "{query}", "", (1.0, 30.0))
    orders, items = (
        {"http__request__method": "GET", "http__route": path} for path in ("/orders", "/items")
    )
    return {
        n_plus_one.QUERIES: [
            Row(counted, row("", 0, **orders).attributes, 1.0, (0, requests, 0)),
            Row(counted, row("", 0, **items).attributes, 1.0, (500, 0, 0)),
        ],
        n_plus_one.REPEATED: [
            row(n_plus_one.REPEATED, repeated - 1, **orders, db__query__text="SELECT ? FROM items"),
            row(n_plus_one.REPEATED, 1, **orders, db__query__text="SELECT ? FROM notes"),
            row(n_plus_one.REPEATED, 1, **items, db__query__text="SELECT ? FROM stock"),
        ],
    }


SYNC: Final = Server("sync", 4, 1, 30.0)
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


def grown(*speeds: float) -> list[Growth]:
    return [Growth(slot, speed, 400_000_000, 3600) for slot, speed in enumerate(speeds)]


def requests(count: int, **more: float) -> dict[str, Any]:
    return {"counts": {"requests": count, **more}}


def evidence(**given: Any) -> Evidence:  # noqa: ANN401 - fields of Evidence
    """Return an hour's evidence with what is given."""
    return Evidence(**{"settings": Settings(), "seconds": 3600.0, **given})


def rule(number: str) -> Rule:
    """Return a rule by the end of its id."""
    (found,) = (each for each in RULES if each.id == f"OTM-{number}")
    return found
