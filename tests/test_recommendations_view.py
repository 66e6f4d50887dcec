"""What the endpoint of recommendations says."""

from __future__ import annotations

from typing import Any

from otelmon.ledger.segment import Segment
from otelmon.recommendations import advice
from otelmon.recommendations.advice import Advice
from otelmon.recommendations.catalogue import RULES, review
from otelmon.recommendations.diary import Entry
from otelmon.recommendations.evidence import Evidence
from otelmon.settings import Settings
from tests.endpoints import get, ops
from tests.evidences import pool
from tests.sources import SECOND, Counts, published


PATH = "/api/metrics/recommendations"


def advised(**given: Any) -> Advice:  # noqa: ANN401 - fields of Evidence
    """Return advice of an hour's evidence."""
    found = Evidence(settings=Settings(), seconds=3600.0, **given)
    return advice.advice(review(found), 1_768_204_800.0, None)


def test_each_sentence_has_a_structured_twin() -> None:
    """Worst first; the items say what, how much and what to do, with the setting."""
    given = {"measured": pool(used=30, most=30), "counts": {"pool_timeouts": 4}}
    said = get(PATH, ops(advised=advised(**given)))

    assert said["recommendations"] == [each["message"] for each in said["items"]]
    assert [each["id"] for each in said["items"]] == ["OTM-R013", "OTM-R024"]
    first = said["items"][0]
    assert (first["severity"], first["since"]) == ("critical", "2026-01-12T08:00:00.000Z")
    assert first["docs"] == "docs/recommendations.md#otm-r013"
    assert first["actions"][0] == {
        "text": "Keep more connections.",
        "setting": "DB_POOL_SIZE",
        "present": 10,
        "proposed": 20,
    }


def test_all_are_listed_when_asked_for() -> None:
    """`?all` has each recommendation with its status; without it there is no such list."""
    app = ops(advised=advised())
    found = get(PATH, app, QUERY_STRING="all")["checked"]

    assert [each["id"] for each in found] == [rule.id for rule in RULES]
    assert {each["status"] for each in found} >= {"recommend", "pass", "not_applicable"}
    assert all(each["reason"] for each in found if each["status"] == "insufficient_data")
    assert "checked" not in get(PATH, app)


def test_ten_are_shown_and_all_when_asked_for() -> None:
    """The worst ten, unless `?all` is asked for."""
    made = [{"id": str(number), "message": f"m{number}"} for number in range(12)]
    app = ops(advised=Advice(1.0, (), made))

    assert get(PATH, app)["recommendations"] == [f"m{number}" for number in range(10)]
    assert len(get(PATH, app, QUERY_STRING="all=1")["items"]) == 12


def test_before_the_first_sample_nothing_is_known() -> None:
    """The lists are empty, and each recommendation says that nothing was sampled."""
    said = get(PATH, ops(counted=None, said=None), QUERY_STRING="all")

    assert (said["recommendations"], said["items"]) == ([], [])
    assert {each["status"] for each in said["checked"]} == {"insufficient_data"}


def test_what_a_late_keeper_said_is_not_repeated() -> None:
    """Where the last sample is old, only that is told."""
    counts = Counts()
    reading = counts.read()
    old = published(monotonic=reading.monotonic - 90 * SECOND)
    said = get(PATH, ops(counted=reading, said=old, advised=advised()))

    (message,) = said["recommendations"]
    assert "the last sample is 90 s old" in message
    assert said["items"][0]["id"] == "OTM-R023"


def test_advice_is_read_as_it_was_published() -> None:
    """The diary lies behind it, and neither is there before the first time."""
    segment = Segment()
    assert advice.read(segment) is None
    assert advice.read_diary(segment) == []
    entries = [Entry(5, {"requests": 7}, {"0": (4711, 10**8)})]
    advice.publish(segment, advised(), entries)

    assert advice.read(segment) == advised()
    assert advice.read_diary(segment) == entries
