"""`/api/metrics/history`: who may ask for what, and what is no question."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest

from otelmon.ledger.segment import Segment
from otelmon.metrics import past
from otelmon.metrics.history import SERIES, Point
from otelmon.metrics.past import Past
from tests.endpoints import get, ops, settings
from tests.sources import SECOND, ask


if TYPE_CHECKING:
    from otelmon.views.ops import OpsApp


PATH: Final = "/api/metrics/history"
NOON: Final = 1_768_219_200


@pytest.fixture(name="app", scope="module")
def _app() -> OpsApp:
    segment = Segment()
    for number in range(1, 7):
        at = float(NOON + number * 10)
        values = (float(number),) * len(SERIES)
        past.keep_point(segment, number, Point(number * 10 * SECOND, at, 10.0, values))
    return ops(kept=Past(segment, 6))


def test_all_series_are_there(app: OpsApp) -> None:
    """Without a question the whole hour is answered."""
    found = get(PATH, app)

    assert list(found) == ["interval", "times", "series"]
    assert found["interval"] == 10
    assert found["times"] == [NOON + number * 10 for number in range(1, 7)]
    assert found["series"] == {name: [1, 2, 3, 4, 5, 6] for name in SERIES}


@pytest.mark.parametrize(
    "since",
    [
        str(NOON + 40),
        f"{NOON + 40}.000",
        "2026-01-12T12:00:40Z",
        "2026-01-12T12:00:40",
        "2026-01-12T13:00:40%2B01:00",
        "2026-01-12T13:00:40+01:00",
        "2026-01-12T07:00:40-05:00",
        "1&since=2026-01-12T12:00:40.000Z",
    ],
)
def test_since_is_a_unix_time_or_iso_8601(app: OpsApp, since: str) -> None:
    """In any zone, in UTC without one; a plus need not be encoded, and the last one counts."""
    assert datetime.fromtimestamp(NOON, UTC).isoformat() == "2026-01-12T12:00:00+00:00"
    assert get(PATH, app, QUERY_STRING=f"since={since}")["times"] == [NOON + 50, NOON + 60]


def test_single_series_can_be_asked_for(app: OpsApp) -> None:
    """They are answered in the order of the question, each once."""
    found = get(PATH, app, QUERY_STRING="series=p99,%20cpu_percent,p99&since=0&other=1")

    assert list(found["series"]) == ["p99", "cpu_percent"]
    assert len(found["times"]) == 6


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("since=", "since= takes"),
        ("since=yesterday", "since= takes"),
        ("since=nan", "since= takes"),
        ("since=inf", "since= takes"),
        ("since=1e999", "since= takes"),
        ("since=2026-01-12T25:00:00Z", "since= takes"),
        ("series=", "series= takes"),
        ("series=p99,nonsense", "series= takes"),
        ("series=p99,,p50", "series= takes"),
    ],
)
def test_a_bad_value_is_answered_with_a_sentence(app: OpsApp, query: str, says: str) -> None:
    """400, with what can be asked for, and nothing of what was."""
    answer = ask(app, PATH, QUERY_STRING=query)
    error = json.loads(answer.body)["error"]

    assert answer.status == 400
    assert error.startswith(says)
    assert error.endswith(".")
    assert "nonsense" not in error


def test_before_the_first_point_there_is_none() -> None:
    """The columns are empty, and the interval is the one that is set."""
    found = get(PATH, ops(settings=settings(monitoring_interval=7)))

    assert (found["interval"], found["times"]) == (7, [])
    assert found["series"] == {name: [] for name in SERIES}


def test_it_asks_for_the_token() -> None:
    """With a token set, it is 401 without, and 200 with it."""
    app = ops(settings=settings(token="a-secret-of-length"))

    assert ask(app, PATH).status == 401
    assert ask(app, PATH, HTTP_AUTHORIZATION="Bearer a-secret-of-length").status == 200
